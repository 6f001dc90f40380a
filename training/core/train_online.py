"""Online DPO: the policy samples responses, the reward says which of two is better, and one step of DPO follows.

Guo et al. 2024 (arXiv 2402.04792), where a language model judges two responses to each prompt; here the reward is what the job
names. Each rollout gets one step, so that the pairs are always the policy's own of that moment, unlike those of DPO. With more
than two samples to a prompt all of their pairs are learned, as those of a ranking are. Log-probs are at the sampling
temperature. Left out: pairs of responses of other policies; the losses of IPO and SLiC.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from training.configs import OnlineDPOConfig
from training.core.advantages import varied
from training.core.data import SoftPair, read_rollout_prompts
from training.core.diagnostics import RolloutDiagnostics
from training.core.events import Events
from training.core.job_directory import Job
from training.core.logprobs import token_logprobs
from training.core.losses import implicit_reward, preference_loss
from training.core.model_loading import autocast, save_policy
from training.core.rankings import Pairs, batch_pairs
from training.core.rollout_groups import RolloutGroup
from training.core.rollout_loop import build_loop, mini_batches
from training.core.rollouts import (
    Rollout,
    all_divergences,
    kl_metrics,
    load_setup,
    response_metrics,
    rollout_logprobs,
)


def train(job: Job, config: OnlineDPOConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy, and return the job's result."""
    setup = load_setup(job, config, events, read_rollout_prompts(job.data), reference=True)
    loop = build_loop(setup, config, setup.policy)
    diagnostics = RolloutDiagnostics(events, config.precision)

    def score_rollout(rollout: Rollout) -> None:
        """Add the rewards, and the reference's log-probs. Without soft labels, equally good responses are no pair."""
        tensors = rollout.tensors
        rewards = setup.rewards(rollout.groups, loop.raise_if_stopped)
        differ = varied(rewards.view(-1, config.samples))
        rollout.metrics = response_metrics(rollout, rewards) | {
            "equal_groups": float((~differ).float().mean())
        }
        if config.labels == "hard":
            tensors["included"] = differ
        tensors["rewards"] = rewards
        tensors["reference"] = rollout_logprobs(setup, setup.reference, rollout, 1, loop)

    for rollout, part in mini_batches(setup, config, loop, score_rollout):
        sums = dict.fromkeys(("loss", "reward_chosen", "reward_rejected"), 0.0)
        divergences = []
        for micro, inputs in loop.passes(setup.passes, part):
            loop.raise_if_stopped()
            with autocast(config.precision):
                logprobs = token_logprobs(setup.policy, inputs, config.temperature)
            per_token = implicit_reward(logprobs, rollout.token_values("reference", micro), beta=config.beta)
            implicit = per_token.new_zeros(len(inputs.lengths)).index_add(0, inputs.owner, per_token)
            pairs = sampled_pairs(micro, rollout.tensors["rewards"], config.labels, implicit.device)
            chosen, rejected = implicit[pairs.chosen], implicit[pairs.rejected]
            weights = pairs.weights("prompt") * (len(micro) / len(part))
            losses = preference_loss(chosen, rejected, probability=pairs.probability)
            micro_loss = (losses * weights).sum()
            micro_loss.backward()  # type: ignore[no-untyped-call]
            diagnostics.check_logprobs(rollout.token_values("recorded", micro), logprobs.detach())
            divergences.append(implicit.detach().cpu() / config.beta)
            sums["loss"] += micro_loss.item()
            sums["reward_chosen"] += float((chosen.detach() * weights).sum())
            sums["reward_rejected"] += float((rejected.detach() * weights).sum())
        sums["reward_margin"] = sums["reward_chosen"] - sums["reward_rejected"]
        common = dict(rollout.metrics)
        if part:
            kls = all_divergences(divergences)
            diagnostics.check_kl(kls)
            common |= kl_metrics(kls)
        loop.step(sums, common=common, tokens=sum(group.encoded.tokens for group in part))

    loop.write_output(
        lambda folder: save_policy(
            setup.policy, setup.tokenizer, folder, instruction=setup.encoder.instruction
        ),
    )
    return {
        "prompts": len(setup.training),
        "truncated_prompts": setup.encoder.truncated,
        "metrics": loop.metrics,
    }


def sampled_pairs(
    groups: Sequence[RolloutGroup], rewards: Tensor, labels: str, device: torch.device | str = "cpu"
) -> Pairs:
    """The pairs of each group's responses, as positions among those of the groups taken in order.

    rewards: (K,) of all responses of the rollout. labels: hard, the higher reward is preferred, and equal ones are no pair; soft,
    the first is preferred with the probability sigmoid(r1 - r2).
    """
    by_group: list[list[SoftPair]] = []
    places: list[range] = []
    start = 0
    for group in groups:
        k = len(group.encoded.responses)
        own = rewards[group.first : group.first + k]
        compared = [(a, b, own[a] - own[b]) for a, b in combinations(range(k), 2)]
        if labels == "soft":
            by_group.append([(a, b, float(torch.sigmoid(d))) for a, b, d in compared])
        else:
            by_group.append([(a, b, float(d > 0)) for a, b, d in compared if d != 0])
        places.append(range(start, start + k))
        start += k
    return batch_pairs([[]] * len(groups), device=device, soft_pairs=by_group, places=places)
