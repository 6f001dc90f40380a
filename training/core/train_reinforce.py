"""REINFORCE on whole responses: the log-prob of each, times how much better its reward was than a baseline.

Williams 1992; Ahmadian et al. 2024 (RLOO), who found that a response is best seen as one action. The reward has the
divergence from the reference in it, R = r - beta log(pi / ref) summed over the response. One step a rollout, so that the
gradient is that of the policy which sampled. Left out: importance ratios, which more steps would need.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from training.configs import ReinforceConfig
from training.core.advantages import leave_one_out, moving_mean
from training.core.batching import token_logprobs
from training.core.data import read_questions
from training.core.diagnostics import Watch
from training.core.events import Events
from training.core.job_directory import Job, publish
from training.core.model_loading import autocast, save_policy
from training.core.policy_losses import k1, policy_gradient, token_weights
from training.core.rollout_loop import mini_batches, open_loop
from training.core.rollouts import Rollout, describe, divergence, logprobs_of, prepare


def train(job: Job, config: ReinforceConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy, and return what to say of it."""
    setup = prepare(job, config, events, read_questions(job.data), reference=config.beta > 0)
    loop = open_loop(setup, config, setup.policy)
    watch = Watch(events, config.precision)

    def appraise(rollout: Rollout) -> None:
        """The reward of every response with its divergence in it, less the baseline."""
        tensors, between = rollout.tensors, loop.leave_if_asked
        rewards = setup.rewards(rollout.answered, between)
        rollout.figures = describe(rollout, rewards)
        if setup.reference is not None:
            now = logprobs_of(setup, setup.policy, rollout, 1, between)
            tensors["kl"] = k1(now, logprobs_of(setup, setup.reference, rollout, 1, between))
            kl = rollout.per_response("kl")
            rewards = rewards - config.beta * kl
            watch.kl(kl)
            rollout.figures |= divergence(kl)
        tensors["advantages"] = advantages_of(rewards).repeat_interleave(tensors["lengths"])

    def advantages_of(rewards: Tensor) -> Tensor:
        if config.baseline == "leave_one_out":
            return leave_one_out(rewards.view(-1, config.samples)).flatten()
        baseline, loop.extra["baseline"] = moving_mean(
            loop.extra.get("baseline"), rewards, config.baseline_decay
        )
        return rewards - baseline

    for rollout, part in mini_batches(setup, config, loop, appraise):
        loss = 0.0
        for micro, laid_out in setup.passes(part):
            loop.leave_if_asked()
            with autocast(config.precision):
                logprobs = token_logprobs(setup.policy, laid_out, config.temperature)
            weights = token_weights(
                "sum",
                laid_out.lengths,
                laid_out.owner,
                responses=len(part) * config.samples,
                tokens=0,
                longest=config.max_new_tokens,
            )
            losses = policy_gradient(logprobs, rollout.of_tokens("advantages", micro))
            share = (losses * weights).sum()
            share.backward()  # type: ignore[no-untyped-call]
            watch.logprobs(rollout.of_tokens("recorded", micro), logprobs.detach())
            loss += share.item()
        loop.step(rollout.figures | {"loss": loss}, tokens=sum(one.group.tokens for one in part))

    return {
        "output": str(publish(job, lambda folder: save_policy(setup.policy, setup.tokenizer, folder))),
        "prompts": len(setup.training),
        "truncated_prompts": setup.encoder.truncated,
        "metrics": loop.metrics,
    }
