"""PPO for language models: a value model judges every token, and the divergence is part of the reward at every token.

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
from training.core.batching import Batch, check_sharing, hidden_states, token_logprobs
from training.core.data import read_questions
from training.core.diagnostics import Watch
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job, publish
from training.core.model_loading import autocast, load_trunk, locate, save_policy
from training.core.policy_losses import clipped_surrogate, clipped_value_loss, is_clipped, k1, token_weights
from training.core.reward_model import RewardModel, load_reward_model
from training.core.rollout_loop import mini_batches, open_loop
from training.core.rollouts import Rollout, Setup, describe, divergence, logprobs_of, per_token, prepare


class ValueModel(nn.Module):
    """V(s) of every state that a response token is sampled in: a trunk, and the head of a reward model at each place."""

    bias: Tensor

    def __init__(self, start: RewardModel) -> None:
        super().__init__()
        self.trunk, self.weight, self.precision = start.trunk, start.weight, start.precision
        self.register_buffer("bias", start.bias)

    def forward(self, batch: Batch) -> Tensor:
        """(N,) values in float32, of the prompt and the response up to, and without, each response token."""
        with autocast(self.precision):
            hidden = hidden_states(self.trunk, batch)[batch.predictor]
        values: Tensor = hidden.to(self.weight.dtype) @ self.weight - self.bias
        return values


def train(job: Job, config: PPOConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy, and return what to say of it."""
    setup = prepare(job, config, events, read_questions(job.data), reference=config.beta > 0)
    policy, value = setup.policy, value_model(setup, config)
    loop = open_loop(setup, config, nn.ModuleDict({"policy": policy, "value": value}))
    watch = Watch(events, config.precision)

    def appraise(rollout: Rollout) -> None:
        """Rewards at every token, values, and from them advantages and returns."""
        tensors, parts, between = rollout.tensors, config.updates, loop.leave_if_asked
        scores = setup.rewards(rollout.answered, between)
        rollout.figures = describe(rollout, scores)
        tensors["old"] = old = logprobs_of(setup, policy, rollout, parts, between)
        tensors["values"] = values = per_token(setup, rollout, parts, value, between)
        watch.logprobs(tensors["recorded"], old)
        beta = float(loop.extra.get("beta", config.beta))
        tensors["kl"] = torch.zeros_like(old)
        if setup.reference is not None:
            tensors["kl"] = k1(old, logprobs_of(setup, setup.reference, rollout, parts, between))
            kl = rollout.per_response("kl")
            watch.kl(kl)
            rollout.figures |= divergence(kl) | {"beta": beta}
        rewards = token_rewards(
            whiten(scores) if config.whiten_scores else scores, tensors["kl"], tensors["lengths"], beta
        )
        advantages, tensors["returns"] = gae(
            rewards, values, tensors["lengths"], gamma=config.gamma, lam=config.gae_lambda
        )
        tensors["advantages"] = whiten(advantages)
        rollout.figures["explained_variance"] = explained_variance(values, tensors["returns"])
        if config.kl_target:
            weight = adapted(beta, rollout.figures["kl"], config.kl_target)
            loop.extra["beta"] = torch.tensor(weight, dtype=torch.float64)

    for rollout, part in mini_batches(setup, config, loop, appraise, config.updates):
        sums = dict.fromkeys(("loss", "policy_loss", "value_loss", "ratio", "clipped"), 0.0)
        tokens = sum(one.tokens for one in part)
        for micro, laid_out in setup.passes(part):
            loop.leave_if_asked()
            with autocast(config.precision):
                logprobs = token_logprobs(policy, laid_out, config.temperature)
            values = value(laid_out)
            old, advantages = (rollout.of_tokens(name, micro) for name in ("old", "advantages"))
            low, high = config.clip_low, config.clip_high
            weights = token_weights(
                "token", laid_out.lengths, laid_out.owner, responses=0, tokens=tokens, longest=0
            )
            policy_loss = (clipped_surrogate(logprobs, old, advantages, low=low, high=high) * weights).sum()
            value_losses = clipped_value_loss(
                values,
                rollout.of_tokens("values", micro),
                rollout.of_tokens("returns", micro),
                clip=config.value_clip,
            )
            value_loss = (value_losses * weights).sum()
            share = policy_loss + config.value_coefficient * value_loss
            share.backward()  # type: ignore[no-untyped-call]
            here = logprobs.detach()
            sums["loss"] += share.item()
            sums["policy_loss"] += policy_loss.item()
            sums["value_loss"] += value_loss.item()
            sums["ratio"] += float(torch.exp(here - old).sum()) / tokens
            sums["clipped"] += float(is_clipped(here, old, advantages, low=low, high=high).sum()) / tokens
        loop.step(rollout.figures | sums, tokens=sum(one.group.tokens for one in part))

    return {
        "output": str(publish(job, lambda folder: save_policy(policy, setup.tokenizer, folder))),
        "prompts": len(setup.training),
        "truncated_prompts": setup.encoder.truncated,
        "metrics": loop.metrics,
    }


def value_model(setup: Setup, config: PPOConfig) -> ValueModel:
    """A value model on the device, from the reward model where it reads the policy's tokens, or from the policy."""
    job = setup.job
    if config.value_start == "policy":
        trunk = load_trunk(locate(job.model or "", job.folder))
        start = RewardModel(trunk, config.seed, config.precision)
        with torch.no_grad():
            start.weight.zero_()
    elif setup.rewards.judges[0].by_ids:
        source = locate(job.reward_model or "", job.folder, "reward_model")
        start = load_reward_model(source, "reward_model", config.precision)
    else:
        raise BadInput(
            "The reward model reads other tokens than the policy, or fewer, and cannot be the start of the value model;"
            " start it from the policy.",
            setting="value_start",
        )
    if config.layout == "shared":
        check_sharing(start.trunk, setup.encoder.max_length)
    return ValueModel(start)
