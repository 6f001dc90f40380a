"""GRPO: the samples of a prompt are each other's baseline, and the KL from the reference is part of the loss.

Shao et al. 2024 (DeepSeekMath), equation 3, with the options of Dr. GRPO (Liu et al. 2025: no division by the deviation
nor by a response's length) and DAPO (Yu et al. 2025: a higher upper clip, the mean over tokens, no groups of equal
rewards). If a rollout gets one step only, that step's log-probs are the old ones, and no pass is spent on them.
Left out: sampling again in place of dropped groups, and DAPO's soft penalty on length.
"""

from __future__ import annotations

from typing import Any

import torch

from training.configs import GRPOConfig
from training.core.advantages import group_advantages, varied
from training.core.data import read_rollout_prompts
from training.core.diagnostics import RolloutDiagnostics
from training.core.events import Events
from training.core.job_directory import Job
from training.core.logprobs import token_logprobs
from training.core.model_loading import autocast, save_policy
from training.core.policy_losses import clipped_surrogate, is_clipped, k1, k3, token_weights
from training.core.process_rank import world_size
from training.core.rollout_loop import build_loop, mini_batches
from training.core.rollouts import (
    Rollout,
    all_divergences,
    kl_metrics,
    load_setup,
    response_metrics,
    rollout_logprobs,
)


def train(job: Job, config: GRPOConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy, and return the job's result."""
    has_reference = config.beta > 0 or config.max_kl > 0
    setup = load_setup(job, config, events, read_rollout_prompts(job.data), reference=has_reference)
    loop = build_loop(setup, config, setup.policy)
    diagnostics = RolloutDiagnostics(events, config.precision)

    def score_rollout(rollout: Rollout) -> None:
        """Add advantages, and the log-probs that stay constant while the policy changes."""
        tensors = rollout.tensors
        rewards = setup.rewards(rollout.groups, loop.raise_if_stopped)
        grouped = rewards.view(-1, config.samples)
        rollout.metrics = response_metrics(rollout, rewards) | {
            "equal_groups": float((~varied(grouped)).float().mean())
        }
        if config.drop_equal:
            tensors["included"] = varied(grouped)
        advantages = group_advantages(grouped, scale=config.scale_rewards).flatten()
        tensors["advantages"] = advantages.repeat_interleave(tensors["lengths"])
        if setup.reference is not None:
            tensors["reference"] = rollout_logprobs(setup, setup.reference, rollout, config.updates, loop)
        if config.steps_per_rollout > 1:
            tensors["old"] = rollout_logprobs(setup, setup.policy, rollout, config.updates, loop)

    for rollout, part in mini_batches(setup, config, loop, score_rollout, config.updates):
        common = dict(rollout.metrics)
        sums = {"loss": 0.0, "ratio": 0.0 if part else 1 / world_size(), "clipped": 0.0}
        responses, tokens = len(part) * config.samples, sum(group.response_tokens for group in part)
        divergences = []
        for micro, inputs in loop.passes(setup.passes, part):
            loop.raise_if_stopped()
            with autocast(config.precision):
                logprobs = token_logprobs(setup.policy, inputs, config.temperature)
            here = logprobs.detach()
            old = rollout.token_values("old", micro) if "old" in rollout.tensors else here
            advantages = rollout.token_values("advantages", micro)
            losses = clipped_surrogate(logprobs, old, advantages, low=config.clip_low, high=config.clip_high)
            losses = losses * rollout.importance_weights(micro)
            if setup.reference is not None:
                reference = rollout.token_values("reference", micro)
                losses = losses + config.beta * k3(logprobs, reference)
                kl = here.new_zeros(len(inputs.lengths)).index_add_(0, inputs.owner, k1(old, reference))
                divergences.append(kl.cpu())
            weights = token_weights(
                config.reduction,
                inputs.lengths,
                inputs.owner,
                responses=responses,
                tokens=tokens,
                longest=config.max_new_tokens,
            )
            micro_loss = (losses * weights).sum()
            micro_loss.backward()  # type: ignore[no-untyped-call]
            diagnostics.check_logprobs(rollout.token_values("recorded", micro), old)
            clipped = is_clipped(here, old, advantages, low=config.clip_low, high=config.clip_high)
            sums["loss"] += micro_loss.item()
            sums["ratio"] += float(torch.exp(here - old).sum()) / tokens
            sums["clipped"] += float(clipped.float().sum()) / tokens
        if part and setup.reference is not None:
            kls = all_divergences(divergences)
            if loop.steps_done % config.steps_per_rollout == 0:  # later steps have the same divergences
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
