"""REINFORCE on whole responses: the log-prob of each, times its reward less a baseline.

Williams 1992; Ahmadian et al. 2024 (RLOO), who found that a response is best treated as one action. The reward includes the
KL from the reference, R = r - beta log(pi / ref) summed over the response. One step a rollout, so that the gradient is that
of the policy which sampled. Left out: importance ratios, which more steps would need.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from training.configs import ReinforceConfig
from training.core.advantages import leave_one_out, moving_mean
from training.core.data import read_rollout_prompts
from training.core.diagnostics import RolloutDiagnostics
from training.core.events import Events
from training.core.job_directory import Job
from training.core.logprobs import token_logprobs
from training.core.model_loading import autocast, save_policy
from training.core.policy_losses import k1, policy_gradient, token_weights
from training.core.rollout_loop import build_loop, mini_batches
from training.core.rollouts import (
    Rollout,
    kl_metrics,
    load_setup,
    response_metrics,
    rollout_logprobs,
)


def train(job: Job, config: ReinforceConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy, and return the job's result."""
    has_reference = config.beta > 0 or config.max_kl > 0
    setup = load_setup(job, config, events, read_rollout_prompts(job.data), reference=has_reference)
    loop = build_loop(setup, config, setup.policy)
    diagnostics = RolloutDiagnostics(events, config.precision)

    def score_rollout(rollout: Rollout) -> None:
        """Add advantages: the reward of every response, its KL included, less the baseline."""
        tensors = rollout.tensors
        rewards = setup.rewards(rollout.groups, loop.raise_if_stopped)
        rollout.metrics = response_metrics(rollout, rewards)
        if setup.reference is not None:
            now = rollout_logprobs(setup, setup.policy, rollout, 1, loop)
            tensors["kl"] = k1(now, rollout_logprobs(setup, setup.reference, rollout, 1, loop))
            kl = rollout.sum_per_response("kl")
            rewards = rewards - config.beta * kl
            diagnostics.check_kl(kl)
            rollout.metrics |= kl_metrics(kl)
        tensors["advantages"] = advantages_of(rewards).repeat_interleave(tensors["lengths"])

    def advantages_of(rewards: Tensor) -> Tensor:
        if config.baseline == "leave_one_out":
            return leave_one_out(rewards.view(-1, config.samples)).flatten()
        baseline, loop.extra["baseline"] = moving_mean(
            loop.extra.get("baseline"), rewards, config.baseline_decay
        )
        return rewards - baseline

    for rollout, part in mini_batches(setup, config, loop, score_rollout):
        loss = 0.0
        for micro, inputs in loop.passes(setup.passes, part):
            loop.raise_if_stopped()
            with autocast(config.precision):
                logprobs = token_logprobs(setup.policy, inputs, config.temperature)
            weights = token_weights(
                "sum",
                inputs.lengths,
                inputs.owner,
                responses=len(part) * config.samples,
                tokens=0,
                longest=config.max_new_tokens,
            )
            losses = policy_gradient(logprobs, rollout.token_values("advantages", micro))
            micro_loss = (losses * rollout.importance_weights(micro) * weights).sum()
            micro_loss.backward()  # type: ignore[no-untyped-call]
            diagnostics.check_logprobs(rollout.token_values("recorded", micro), logprobs.detach())
            loss += micro_loss.item()
        tokens = sum(group.encoded.tokens for group in part)
        loop.step({"loss": loss}, common=rollout.metrics, tokens=tokens)

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
