"""Rewards to advantages: how much better than expected each token, or each response, was.

Per-token values are flat, (N,) for the N response tokens of K responses, response after response, as in `batching.Batch`:
there is no padding that a mean could include by mistake. Rewards of responses are (Q, G), G samples of each of Q
prompts. Left out: bootstrapping the value of a response that was cut; its last token counts as the end.
"""

from __future__ import annotations

import torch
from torch import Tensor


def token_rewards(scores: Tensor, kl: Tensor, lengths: Tensor, beta: float) -> Tensor:
    """(N,) -beta * kl at every token, and the response's score at its last (Ziegler et al. 2019, equation 2).

    scores: (K,). kl: (N,), log policy - log reference. lengths: (K,), each at least 1.
    """
    rewards = -beta * kl
    rewards[lengths.cumsum(0) - 1] += scores.to(rewards.dtype)
    return rewards


def gae(
    rewards: Tensor, values: Tensor, lengths: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and returns, both (N,) (Schulman et al. 2016, equation 16).

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lam A_{t+1}, with V = A = 0 past a response's end;
    the return is A_t + V_t. rewards, values: (N,). lengths: (K,).
    """
    inside = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]

    def padded(flat: Tensor) -> Tensor:
        return flat.new_zeros(inside.shape).masked_scatter_(inside, flat)

    reward, value = padded(rewards), padded(values)
    advantages = torch.zeros_like(value)
    later = value_later = value.new_zeros(len(lengths))
    for t in reversed(range(inside.shape[1])):
        delta = reward[:, t] + gamma * value_later - value[:, t]
        later = delta + gamma * lam * later
        value_later = value[:, t]
        advantages[:, t] = later
    flat = advantages[inside]
    return flat, flat + values


def whiten(values: Tensor, epsilon: float = 1e-8) -> Tensor:
    """`values` shifted and scaled to mean 0 and variance 1 over all of them."""
    centred = values - values.mean()
    return centred * torch.rsqrt(centred.square().mean() + epsilon)


def group_advantages(rewards: Tensor, *, scale: bool = True, epsilon: float = 1e-4) -> Tensor:
    """(Q, G) rewards less their group's mean, over its unbiased standard deviation (Shao et al. 2024, section 4.1.2).

    scale: False leaves the deviation out, which otherwise weighs prompts of almost equal rewards up (Dr. GRPO, Liu et
    al. 2025). G is at least 2.
    """
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + epsilon) if scale else centred


def leave_one_out(rewards: Tensor) -> Tensor:
    """(Q, G) rewards, each less the mean of its group's G - 1 others (RLOO; Ahmadian et al. 2024)."""
    others = (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return rewards - others


def moving_mean(past: Tensor | None, rewards: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """The baseline for `rewards` and the one for the next rollout, both scalars.

    The baseline is the mean over previous rollouts, each with `decay` times the weight of the next, so that it does not
    depend on the samples that it is subtracted from; only the first rollout has its own mean.
    """
    mean = rewards.mean()
    baseline = mean if past is None else past
    return baseline, decay * baseline + (1 - decay) * mean


def varied(rewards: Tensor) -> Tensor:
    """(Q,) whether the rewards of each (Q, G) group differ; if they do not, the group has no gradient (DAPO; Yu et al.
    2025, section 3.2)."""
    return (rewards != rewards[:, :1]).any(1)


def adapted(beta: float, kl: float, target: float) -> float:
    """The next KL weight: higher if `kl` (nats per response) is above `target`, lower if below, by 2% at most.

    Ziegler et al. 2019, section 2.2: beta (1 + 0.1 clip(kl / target - 1, -0.2, 0.2)).
    """
    return beta * (1 + 0.1 * min(max(kl / target - 1, -0.2), 0.2))


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - var(returns - values) / var(returns): 1 for a perfect value model, 0 for a constant; 0 if the returns are equal."""
    spread = returns.var(correction=0)
    return float(1 - (returns - values).var(correction=0) / spread) if spread > 0 else 0.0
