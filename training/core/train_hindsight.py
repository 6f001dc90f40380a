"""Hindsight instruction relabeling: the policy learns to tell good answers from bad ones by the instruction before the prompt.

Zhang et al. 2023 (arXiv 2302.05206). It samples under the good instruction; what its responses achieved decides which
instruction they would have fulfilled: the top third by reward the good one, the bottom third the bad one. They are learned
under that instruction, and against the other (`losses.hindsight_loss`). The reward model never reads an instruction. The good
one is written to the model's directory, and is put before every prompt wherever the model is used or trained further.
Left out: sampling under the bad instruction too, and more than two instructions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from training.configs import HindsightConfig
from training.core.batching import Batch, Passes
from training.core.data import read_rollout_prompts
from training.core.distributed import empty_batch
from training.core.events import Events
from training.core.job_directory import Job
from training.core.logprobs import token_figures, token_logprobs
from training.core.losses import hindsight_loss
from training.core.model_loading import autocast, build_encoder, save_policy
from training.core.rollout_groups import RolloutGroup
from training.core.rollout_loop import build_loop, mini_batches
from training.core.rollouts import Rollout, load_setup, response_metrics
from training.core.tokenization import EncodedGroup

GOOD, LEFT_OUT, BAD = 1, 0, -1
"""Labels of responses."""


class RelabelledGroup(NamedTuple):
    """Responses to a prompt with the same label: under the instruction that they fulfil, and under the other."""

    encoded: EncodedGroup
    opposite: EncodedGroup


def train(job: Job, config: HindsightConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy with its instruction, and return the job's result."""
    good, bad = config.good_instruction.strip(), config.bad_instruction.strip()
    rows = read_rollout_prompts(job.data)
    setup = load_setup(job, config, events, rows, reference=config.max_kl > 0, instruction=good)
    loop = build_loop(setup, config, setup.policy)
    length = setup.encoder.max_length
    encoder = build_encoder(setup.policy, setup.tokenizer, config.max_length, instruction=bad)
    bad_prompts = {
        prompt.source.id: encoder.encode_prompt(
            prompt.source.prompt, max_tokens=length - config.max_new_tokens, line=prompt.source.line
        )
        for prompt in setup.training
    }
    # the activations under both instructions are in memory at once
    passes = Passes(setup.policy.base_model, config.layout, config.batch_tokens // 2, length)

    def under_both(groups: Sequence[RelabelledGroup]) -> Iterator[tuple[Batch, Batch]]:
        for micro, inputs in passes(groups):
            yield inputs, passes.lay_out([group.opposite for group in micro])

    def score_rollout(rollout: Rollout) -> None:
        """Add the label of every response."""
        rewards = setup.rewards(rollout.groups, loop.raise_if_stopped)
        rollout.metrics = response_metrics(rollout, rewards)
        width = config.samples if config.compare == "prompt" else len(rewards)
        rollout.tensors["label"] = label_thirds(rewards.view(-1, width)).flatten()

    for rollout, part in mini_batches(setup, config, loop, score_rollout, config.updates):
        batch = relabel(part, rollout.tensors["label"], bad_prompts)
        count = sum(len(group.encoded.responses) for group in batch)
        sums = {"loss": 0.0, "instruction_probability": 0.0 if count else math.nan}
        nothing = empty_batch(), empty_batch()
        for inputs, opposite_inputs in loop.passes(under_both, batch, empty=nothing):
            loop.raise_if_stopped()
            with autocast(config.precision):
                figures = token_figures(setup.policy, inputs)
                opposite = token_logprobs(setup.policy, opposite_inputs)
            logprob, vocabulary_logprob, entropy = mean_per_response(
                figures, inputs.owner, inputs.lengths
            ).unbind(-1)
            opposite = mean_per_response(opposite, inputs.owner, inputs.lengths)
            losses = hindsight_loss(
                logprob,
                vocabulary_logprob,
                entropy,
                opposite,
                smoothing=config.label_smoothing,
                entropy_weight=config.entropy_weight,
            )
            micro_loss = losses.sum() / count
            micro_loss.backward()  # type: ignore[no-untyped-call]
            sums["loss"] += micro_loss.item()
            sums["instruction_probability"] += (
                float(torch.sigmoid(logprob.detach() - opposite.detach()).sum()) / count
            )
        tokens = sum(group.encoded.tokens + group.opposite.tokens for group in batch)
        loop.step(sums, common=rollout.metrics, tokens=tokens)

    loop.write_output(lambda folder: save_policy(setup.policy, setup.tokenizer, folder, instruction=good))
    return {
        "prompts": len(setup.training),
        "truncated_prompts": setup.encoder.truncated,
        "metrics": loop.metrics,
    }


def label_thirds(rewards: Tensor) -> Tensor:
    """(R, n) labels for (R, n) rewards: in each row the top third GOOD, the bottom third BAD, the middle LEFT_OUT. Of the top
    third those are left out too that are no better than all of the bottom third, and the reverse."""
    third = rewards.shape[1] // 3
    if not third:
        return torch.full_like(rewards, LEFT_OUT, dtype=torch.long)
    ordered = rewards.sort(dim=1, stable=True)
    places = ordered.indices
    highest_bad, lowest_good = ordered.values[:, third - 1, None], ordered.values[:, -third, None]
    is_good = torch.zeros_like(rewards, dtype=torch.bool).scatter_(1, places[:, -third:], True)
    is_bad = torch.zeros_like(is_good).scatter_(1, places[:, :third], True)
    labels = torch.full_like(places, LEFT_OUT)
    labels[is_good & (rewards > highest_bad)] = GOOD
    labels[is_bad & (rewards < lowest_good)] = BAD
    return labels


def relabel(
    groups: Sequence[RolloutGroup], labels: Tensor, bad_prompts: Mapping[str | int, list[int]]
) -> list[RelabelledGroup]:
    """The labelled responses. labels: (K,) of all responses of the rollout. bad_prompts: by the prompt's id, its token ids under
    the bad instruction."""
    relabelled = []
    for group in groups:
        good_prompt, responses = group.encoded
        bad_prompt = bad_prompts[group.source.id]
        own = labels[group.first : group.first + len(responses)].tolist()
        for wanted, prompt, opposite in ((GOOD, good_prompt, bad_prompt), (BAD, bad_prompt, good_prompt)):
            chosen = [ids for ids, label in zip(responses, own, strict=True) if label == wanted]
            if chosen:
                relabelled.append(
                    RelabelledGroup(EncodedGroup(prompt, chosen), EncodedGroup(opposite, chosen))
                )
    return relabelled


def mean_per_response(values: Tensor, owner: Tensor, lengths: Tensor) -> Tensor:
    """(K, ...) means over each response's tokens of (N, ...) values. owner: (N,). lengths: (K,)."""
    sums = values.new_zeros(len(lengths), *values.shape[1:]).index_add(0, owner, values)
    return sums / lengths.view(-1, *[1] * (values.dim() - 1))
