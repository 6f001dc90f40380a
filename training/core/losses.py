"""Losses as pure functions of named tensors. Each returns one value per pair; the mean belongs to the caller."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid


def preference_loss(
    chosen: Tensor, rejected: Tensor, *, margin: Tensor | float = 0.0, probability: Tensor | float = 1.0
) -> Tensor:
    """Negative log-likelihood of preferences under Bradley-Terry; (N,) for N pairs.

    With d = chosen - rejected - margin:  -p log sigmoid(d) - (1 - p) log sigmoid(-d).

    chosen, rejected: (N,) rewards in logits, float32 or wider.
    margin: (N,) or one number, in logits, taken off the difference (Llama 2, equation 2); 0 gives InstructGPT's
        equation 1, whose k-choose-2 mean is `rankings.Pairs.weights`.
    probability: (N,) or one number, the share of people who would call `chosen` the better; 1 for a plain choice, a
        soft label for AI feedback (Bai et al. 2022), 1 - epsilon for label smoothing (cDPO).
    """
    difference = chosen - rejected - margin
    return -(probability * logsigmoid(difference) + (1 - probability) * logsigmoid(-difference))


def implicit_reward(logprobs: Tensor, reference_logprobs: Tensor, *, beta: float) -> Tensor:
    """The reward a policy stands for, beta * log(pi / ref), up to a term of the prompt alone; (N,).

    Both log-probs are summed over the response, (N,). Rafailov et al. 2023, equation 5. DPO is `preference_loss` of
    these rewards (equation 7).
    """
    return beta * (logprobs - reference_logprobs)


def ipo_loss(chosen: Tensor, rejected: Tensor, *, beta: float) -> Tensor:
    """(h - 1/(2 beta))^2 with h the difference of the two log ratios; (N,). Azar et al. 2023, equation 17.

    chosen, rejected: (N,) implicit rewards, that is beta times the summed log ratios.
    """
    return ((chosen - rejected) / beta - 1 / (2 * beta)) ** 2
