"""GRPO: the samples of a prompt are each other's baseline, and the divergence from the reference is part of the loss.

Shao et al. 2024 (DeepSeekMath), equation 3, with the switches of Dr. GRPO (Liu et al. 2025: no division by the deviation
nor by a response's length) and DAPO (Yu et al. 2025: a clip that is higher above, the mean over tokens, no groups of equal
rewards). Where a rollout gets one step only, the log-probs of that step are the old ones, and no pass is spent on them.
Left out: sampling again in place of dropped groups, and DAPO's soft penalty on length.
"""

from __future__ import annotations

from typing import Any

import torch

from training.configs import GRPOConfig
from training.core.advantages import group_advantages, varied
from training.core.batching import token_logprobs
from training.core.data import read_questions
from training.core.diagnostics import Watch
from training.core.events import Events
from training.core.job_directory import Job, publish
from training.core.model_loading import autocast, save_policy
from training.core.policy_losses import clipped_surrogate, is_clipped, k1, k3, token_weights
from training.core.rollout_loop import mini_batches, open_loop
from training.core.rollouts import Rollout, describe, divergence, logprobs_of, prepare


def train(job: Job, config: GRPOConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy, and return what to say of it."""
    setup = prepare(job, config, events, read_questions(job.data), reference=config.beta > 0)
    loop = open_loop(setup, config, setup.policy)
    watch = Watch(events, config.precision)

    def appraise(rollout: Rollout) -> None:
        """Advantages, and the log-probs that stay as they are while the policy moves."""
        tensors = rollout.tensors
        rewards = setup.rewards(rollout.answered, loop.leave_if_asked)
        grouped = rewards.view(-1, config.samples)
        rollout.figures = describe(rollout, rewards) | {
            "equal_groups": float((~varied(grouped)).float().mean())
        }
        if config.drop_equal:
            tensors["kept"] = varied(grouped)
        advantages = group_advantages(grouped, scale=config.scale_rewards).flatten()
        tensors["advantages"] = advantages.repeat_interleave(tensors["lengths"])
        if setup.reference is not None:
            tensors["reference"] = logprobs_of(
                setup, setup.reference, rollout, config.updates, loop.leave_if_asked
            )
        if config.steps_per_rollout > 1:
            tensors["old"] = logprobs_of(setup, setup.policy, rollout, config.updates, loop.leave_if_asked)

    for rollout, part in mini_batches(setup, config, loop, appraise, config.updates):
        sums = {"loss": 0.0, "ratio": 0.0 if part else 1.0, "clipped": 0.0}
        responses, tokens = len(part) * config.samples, sum(one.tokens for one in part)
        divergences = []
        for micro, laid_out in setup.passes(part):
            loop.leave_if_asked()
            with autocast(config.precision):
                logprobs = token_logprobs(setup.policy, laid_out, config.temperature)
            here = logprobs.detach()
            old = rollout.of_tokens("old", micro) if "old" in rollout.tensors else here
            advantages = rollout.of_tokens("advantages", micro)
            losses = clipped_surrogate(logprobs, old, advantages, low=config.clip_low, high=config.clip_high)
            if setup.reference is not None:
                reference = rollout.of_tokens("reference", micro)
                losses = losses + config.beta * k3(logprobs, reference)
                kl = here.new_zeros(len(laid_out.lengths)).index_add_(0, laid_out.owner, k1(old, reference))
                divergences.append(kl.cpu())
            weights = token_weights(
                config.reduction,
                laid_out.lengths,
                laid_out.owner,
                responses=responses,
                tokens=tokens,
                longest=config.max_new_tokens,
            )
            share = (losses * weights).sum()
            share.backward()  # type: ignore[no-untyped-call]
            watch.logprobs(rollout.of_tokens("recorded", micro), old)
            clipped = is_clipped(here, old, advantages, low=config.clip_low, high=config.clip_high)
            sums["loss"] += share.item()
            sums["ratio"] += float(torch.exp(here - old).sum()) / tokens
            sums["clipped"] += float(clipped.float().sum()) / tokens
        if divergences:
            if (
                loop.done % config.steps_per_rollout == 0
            ):  # the later steps on a rollout see the same divergences
                watch.kl(torch.cat(divergences))
            sums |= divergence(torch.cat(divergences))
        loop.step(rollout.figures | sums, tokens=sum(one.group.tokens for one in part))

    return {
        "output": str(publish(job, lambda folder: save_policy(setup.policy, setup.tokenizer, folder))),
        "prompts": len(setup.training),
        "truncated_prompts": setup.encoder.truncated,
        "metrics": loop.metrics,
    }
