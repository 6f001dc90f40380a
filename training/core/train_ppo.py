"""PPO for language models: a value model estimates the return at every token, and the KL is part of each token's reward.

Schulman et al. 2017; Ziegler et al. 2019 (the reward at each token, the adaptive weight); Ouyang et al. 2022 (the value
model starts as the reward model); Touvron et al. 2023 (the settings). Policy and value model are two networks with one
optimizer, and their gradient is clipped as one. Left out: pre-training data in the mix (PPO-ptx), dropout, bootstrapping
responses that were cut.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from training.configs import PPOConfig
from training.core.advantages import adapted, explained_variance, gae, token_rewards, whiten
from training.core.batching import Batch, check_layout, hidden_states
from training.core.data import read_rollout_prompts
from training.core.diagnostics import RolloutDiagnostics
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job
from training.core.logprobs import token_logprobs
from training.core.model_loading import autocast, load_trunk, resolve_source, save_policy
from training.core.policy_losses import clipped_surrogate, clipped_value_loss, is_clipped, k1, token_weights
from training.core.reward_model import RewardModel, load_reward_model
from training.core.rollout_loop import build_loop, mini_batches
from training.core.rollouts import (
    Rollout,
    Setup,
    compute_per_token,
    kl_metrics,
    load_setup,
    response_metrics,
    rollout_logprobs,
)


class ValueModel(nn.Module):
    """V(s) of every state that a response token is sampled in: a trunk, with a reward model's head at each position."""

    bias: Tensor

    def __init__(self, start: RewardModel) -> None:
        super().__init__()
        self.trunk, self.weight, self.precision = start.trunk, start.weight, start.precision
        self.register_buffer("bias", start.bias)

    def forward(self, batch: Batch) -> Tensor:
        """(N,) values in float32, of the prompt and the response up to, but without, each response token."""
        with autocast(self.precision):
            hidden = hidden_states(self.trunk, batch)[batch.predictor]
        values: Tensor = hidden.to(self.weight.dtype) @ self.weight - self.bias
        return values


def train(job: Job, config: PPOConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy, and return the job's result."""
    has_reference = config.beta > 0 or config.max_kl > 0
    setup = load_setup(job, config, events, read_rollout_prompts(job.data), reference=has_reference)
    policy, value = setup.policy, value_model(setup, config)
    loop = build_loop(setup, config, nn.ModuleDict({"policy": policy, "value": value}))
    diagnostics = RolloutDiagnostics(events, config.precision)

    def score_rollout(rollout: Rollout) -> None:
        """Add token rewards and values, and from them advantages and returns."""
        tensors, parts = rollout.tensors, config.updates
        scores = setup.rewards(rollout.groups, loop.raise_if_stopped)
        rollout.metrics = response_metrics(rollout, scores)
        tensors["old"] = old = rollout_logprobs(setup, policy, rollout, parts, loop)
        tensors["values"] = values = compute_per_token(setup, rollout, parts, value, loop)
        diagnostics.check_logprobs(tensors["recorded"], old)
        beta = float(loop.extra.get("beta", config.beta))
        tensors["kl"] = torch.zeros_like(old)
        if setup.reference is not None:
            tensors["kl"] = k1(old, rollout_logprobs(setup, setup.reference, rollout, parts, loop))
            kl = rollout.sum_per_response("kl")
            diagnostics.check_kl(kl)
            rollout.metrics |= kl_metrics(kl) | {"beta": beta}
        rewards = token_rewards(
            whiten(scores) if config.whiten_scores else scores, tensors["kl"], tensors["lengths"], beta
        )
        advantages, tensors["returns"] = gae(
            rewards, values, tensors["lengths"], gamma=config.gamma, lam=config.gae_lambda
        )
        tensors["advantages"] = whiten(advantages)
        rollout.metrics["explained_variance"] = explained_variance(values, tensors["returns"])
        if config.kl_target:
            weight = adapted(beta, rollout.metrics["kl"], config.kl_target)
            loop.extra["beta"] = torch.tensor(weight, dtype=torch.float64)

    for rollout, part in mini_batches(setup, config, loop, score_rollout, config.updates):
        sums = dict.fromkeys(("loss", "policy_loss", "value_loss", "ratio", "clipped"), 0.0)
        tokens = sum(group.response_tokens for group in part)
        for micro, inputs in loop.passes(setup.passes, part):
            loop.raise_if_stopped()
            with autocast(config.precision):
                logprobs = token_logprobs(policy, inputs, config.temperature)
            values = value(inputs)
            old, advantages = (rollout.token_values(name, micro) for name in ("old", "advantages"))
            low, high = config.clip_low, config.clip_high
            weights = token_weights(
                "token", inputs.lengths, inputs.owner, responses=0, tokens=tokens, longest=0
            )
            losses = clipped_surrogate(logprobs, old, advantages, low=low, high=high)
            policy_loss = (losses * rollout.importance_weights(micro) * weights).sum()
            value_losses = clipped_value_loss(
                values,
                rollout.token_values("values", micro),
                rollout.token_values("returns", micro),
                clip=config.value_clip,
            )
            value_loss = (value_losses * weights).sum()
            micro_loss = policy_loss + config.value_coefficient * value_loss
            micro_loss.backward()  # type: ignore[no-untyped-call]
            here = logprobs.detach()
            sums["loss"] += micro_loss.item()
            sums["policy_loss"] += policy_loss.item()
            sums["value_loss"] += value_loss.item()
            sums["ratio"] += float(torch.exp(here - old).sum()) / tokens
            sums["clipped"] += float(is_clipped(here, old, advantages, low=low, high=high).sum()) / tokens
        loop.step(sums, common=rollout.metrics, tokens=sum(group.encoded.tokens for group in part))

    loop.write_output(
        lambda folder: save_policy(policy, setup.tokenizer, folder, instruction=setup.encoder.instruction),
    )
    return {
        "prompts": len(setup.training),
        "truncated_prompts": setup.encoder.truncated,
        "metrics": loop.metrics,
    }


def value_model(setup: Setup, config: PPOConfig) -> ValueModel:
    """A value model on the device, initialised from the reward model or from the policy. Raises BadInput if it is to start from a
    reward model that does not read the policy's tokens, or from none."""
    job = setup.job
    readable = job.reward_model is not None and setup.rewards.scorers[0].shares_tokens
    if config.value_start == "policy" or (config.value_start == "auto" and not readable):
        trunk = load_trunk(resolve_source(job.model or "", job.folder))
        start = RewardModel(trunk, config.seed, config.precision)
        with torch.no_grad():
            start.weight.zero_()
    elif job.reward_model is None:
        raise BadInput(
            "The value model cannot start from the reward model, as there is none; set value_start to policy.",
            setting="value_start",
        )
    elif readable:
        source = resolve_source(job.reward_model or "", job.folder, "reward_model")
        start = load_reward_model(source, "reward_model", config.precision)
    else:
        raise BadInput(
            "The value model cannot start from the reward model, which has another tokenizer than the policy or fewer"
            " positions; set value_start to policy.",
            setting="value_start",
        )
    check_layout(start.trunk, config.layout, setup.encoder.max_length)
    return ValueModel(start)
