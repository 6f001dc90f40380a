"""Losses of policy methods as pure functions of named tensors, one value per token; `token_weights` gives the mean.

All tensors are flat, (N,) for the N response tokens of a pass. Log-probs are of the sampled tokens at the sampling
temperature, in float32 or wider.
"""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_surrogate(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, low: float, high: float
) -> Tensor:
    """(N,) -min(ratio A, clip(ratio, 1 - low, 1 + high) A) with ratio = exp(logprobs - old_logprobs).

    Schulman et al. 2017, equation 7, where low = high; DAPO (Yu et al. 2025, section 3.1) has high above low.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def is_clipped(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, low: float, high: float
) -> Tensor:
    """(N,) whether the clip removes a token's gradient."""
    ratio = torch.exp(logprobs - old_logprobs)
    return ((ratio > 1 + high) & (advantages > 0)) | ((ratio < 1 - low) & (advantages < 0))


def policy_gradient(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """(N,) -A log pi, whose gradient is REINFORCE's (Williams 1992); `advantages` carry no gradient."""
    return -advantages * logprobs


def k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """(N,) log pi - log ref, the plain estimate of the KL divergence from samples of pi; unbiased, of either sign."""
    return logprobs - reference_logprobs


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """(N,) exp(d) - d - 1 with d = log ref - log pi: unbiased as k1 is, never negative, of lower variance for close policies.

    Schulman 2020, "Approximating KL divergence"; Shao et al. 2024, equation 4.
    """
    difference = reference_logprobs - logprobs
    return torch.expm1(difference) - difference


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, *, clip: float) -> Tensor:
    """(N,) 0.5 max((V - R)^2, (V_clip - R)^2), V_clip within `clip` of the value at sampling."""
    near = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns).square(), (near - returns).square())


def token_weights(
    reduction: str, lengths: Tensor, owner: Tensor, *, responses: int, tokens: int, longest: int
) -> Tensor:
    """(N,) weights that turn per-token losses into their part of the mini-batch's loss.

    sequence: the mean over responses of each one's mean, 1 / (responses |o|) (GRPO; Shao et al. 2024, equation 3).
    constant: the sum over a response divided by `longest`, the most tokens allowed (Dr. GRPO).
    token: the mean over all tokens (DAPO, section 3.3; PPO). sum: the mean over responses of each one's sum (REINFORCE).
    lengths: (K,) and owner: (N,) of the pass. responses, tokens: of the whole mini-batch.
    """
    if reduction == "sequence":
        return 1 / (responses * lengths[owner].float())
    divisor = {"constant": responses * longest, "token": tokens, "sum": responses}[reduction]
    return torch.full((len(owner),), 1 / divisor, device=owner.device)
