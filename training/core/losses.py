"""Losses of preferences as pure functions of named tensors. Each returns one value per pair, label or response; the caller
takes the mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def preference_loss(
    chosen: Tensor, rejected: Tensor, *, margin: Tensor | float = 0.0, probability: Tensor | float = 1.0
) -> Tensor:
    """Negative log-likelihood of preferences under Bradley-Terry; (N,) for N pairs.

    With d = chosen - rejected - margin:  -p log sigmoid(d) - (1 - p) log sigmoid(-d).

    chosen, rejected: (N,) rewards in logits, float32 or wider.
    margin: (N,) or one number, in logits, taken off the difference (Llama 2, equation 2); 0 gives InstructGPT's
        equation 1, whose k-choose-2 mean is `rankings.Pairs.weights`. On implicit rewards it is DPO with an offset
        (Amini et al. 2024).
    probability: (N,) or one number, the fraction of people who prefer `chosen`; 1 for a plain choice, a
        soft label for AI feedback (Bai et al. 2022), 1 - epsilon for label smoothing (cDPO).
    """
    difference = chosen - rejected - margin
    return -(probability * logsigmoid(difference) + (1 - probability) * logsigmoid(-difference))


def safety_loss(reward: Tensor, safe: Tensor) -> Tensor:
    """Binary cross-entropy of labels that call responses safe (1) or unsafe (0); (M,) for M labels.

    reward: (M,) the same scalar that ranks the responses, taken as the logit of being safe. Llama 2 names this auxiliary
        loss without a formula. Using the one scalar is our choice: the paper calls a response unsafe if its score is
        negative before the sigmoid (table 28), and its PPO compares the sigmoid of the score with 0.15; both require
        that the ranking score is that logit.
    safe: (M,) 1 or 0, or the fraction of people who call it safe.
    """
    return -(safe * logsigmoid(reward) + (1 - safe) * logsigmoid(-reward))


def implicit_reward(logprobs: Tensor, reference_logprobs: Tensor, *, beta: float) -> Tensor:
    """The implicit reward of a policy, beta * log(pi / ref), up to a term of the prompt alone; (N,).

    Both log-probs are summed over the response, (N,). Rafailov et al. 2023, equation 5. DPO is `preference_loss` of
    these rewards (equation 7).
    """
    return beta * (logprobs - reference_logprobs)


def ipo_loss(chosen: Tensor, rejected: Tensor, *, beta: float, probability: Tensor | float = 1.0) -> Tensor:
    """p (h - 1/(2 beta))^2 + (1 - p) (h + 1/(2 beta))^2, h the difference of the two log ratios; (N,).

    Azar et al. 2023 (IPO), averaged over people of whom a fraction p prefers `chosen`; the minimum is at
    h = (p - 1/2) / beta, so the difference stays finite.

    chosen, rejected: (N,) implicit rewards, that is beta times the log ratios: of summed log-probs in the paper, of their
        mean per token where length is not to matter.
    """
    h, target = (chosen - rejected) / beta, 1 / (2 * beta)
    return probability * (h - target) ** 2 + (1 - probability) * (h + target) ** 2


def kto_loss(
    log_ratio: Tensor,
    desirable: Tensor,
    reference_point: float,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """The Kahneman-Tversky loss of responses that are desirable or not; (N,).

    With r = log(pi / ref), z the reference point, and D and U the two weights:

        D (1 - sigmoid(beta (r - z)))  for a desirable response,  U (1 - sigmoid(beta (z - r)))  for an undesirable one.

    Ethayarajh et al. 2024 (KTO), equation 8: the weight less the value of a gain or loss, whose sensitivity falls with its
    distance from the reference point.

    log_ratio: (N,) of log-probs summed over the response. desirable: (N,) bool. reference_point: an estimate of the KL of
        the policy from the reference, at least 0, which carries no gradient.
    """
    gain = beta * (log_ratio - reference_point)
    return torch.where(
        desirable, desirable_weight * torch.sigmoid(-gain), undesirable_weight * torch.sigmoid(gain)
    )


def hindsight_loss(
    logprob: Tensor,
    vocabulary_logprob: Tensor,
    entropy: Tensor,
    opposite_logprob: Tensor,
    *,
    smoothing: float,
    entropy_weight: float,
) -> Tensor:
    """Loss of responses under the instruction that they fulfil rather than the opposite one; (K,).

    With e = smoothing and q = P / (P + P'), where P = exp(logprob) and P' = exp(opposite_logprob):

        -(1 - e) logprob - e vocabulary_logprob - (1 - e) log q - e log(1 - q) - entropy_weight * entropy

    Zhang et al. 2023 (Hindsight Instruction Relabeling), section 4: cross-entropy with label smoothing, a contrast of the
    instructions, and an entropy bonus. q is the sigmoid of the difference of the log-probs. They are means over a response's
    tokens: of sums, q would be 0 or 1 for any long response, and have no gradient.

    logprob, opposite_logprob: (K,) of the response under either instruction. vocabulary_logprob: (K,) the mean log-prob of all
        tokens of the vocabulary. entropy: (K,) of the next token. All are means over the response's tokens.
    """
    cross_entropy = -(1 - smoothing) * logprob - smoothing * vocabulary_logprob
    contrast = preference_loss(logprob, opposite_logprob, probability=1 - smoothing)
    return cross_entropy + contrast - entropy_weight * entropy
