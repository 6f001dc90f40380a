"""KTO: each response is desirable or not, and its gain over the reference counts from a point that all share.

Ethayarajh et al. 2024 (arXiv 2402.01306). A ranking says it of each of its responses: desirable if more of the others are
ranked below it than above, undesirable if fewer; of an AI's opinions, by the mean probability that it is the better one. The
reference point estimates the KL of the policy from the reference: the mean log ratio of responses after other prompts of
the batch, no less than 0. It is computed before each step, without gradient and from the whole batch, so that neither passes
nor processes change it. With patience the policy answers held-out prompts on the way (`held_out_sampling`).
Left out: labels of single responses; an average of reference points over steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from training.configs import KTOConfig
from training.core.batching import Batch, IndexedGroup, Passes
from training.core.divergence import load_reference
from training.core.errors import BadInput
from training.core.events import Events
from training.core.held_out_sampling import select_by_answers
from training.core.job_directory import Job
from training.core.logprobs import response_logprobs
from training.core.losses import kto_loss
from training.core.model_loading import (
    autocast,
    save_policy,
)
from training.core.preference_groups import (
    PreferenceGroup,
    count_learned,
    group_pairs,
    ranking_comparisons,
    rankings_with_places,
)
from training.core.preference_job import load_preference_job
from training.core.rankings import mean_preferences
from training.core.tokenization import EncodedGroup
from training.core.train_dpo import held_out_accuracy
from training.core.training_loop import TrainingLoop

TIE = 1e-9
"""Mean probabilities this near to one half are a tie."""


class Labels(NamedTuple):
    """place: (M,) positions among the responses of a batch. desirable: (M,) bool. weight: (M,) float32, that of the row."""

    place: Tensor
    desirable: Tensor
    weight: Tensor


def train(job: Job, config: KTOConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy, and return the job's result."""
    policy, tokenizer, _, reference_source, encoder, passes, groups, held_out = load_preference_job(
        job, config, events
    )
    training = [group for group in groups if not group.held_out and len(response_labels([group]).place)]
    if not training:
        raise BadInput("No training row of data.jsonl prefers one response to another.")
    # a copy also with LoRA, whose adapters are merged when held-out judgments are scored
    reference = load_reference(reference_source, policy, encoder.max_length, config.layout, config.precision)

    loop = TrainingLoop(job, config, policy, examples=len(training), events=events)
    selection = select_by_answers(loop, config, encoder, groups, lambda: reference)

    def ratios_of(micro: Sequence[PreferenceGroup], inputs: Batch) -> tuple[Tensor, Tensor]:
        """(K,) implicit rewards and (K,) log ratios of the policy to the reference, summed over the response."""
        with autocast(config.precision):
            logprobs = response_logprobs(policy, inputs)
            with torch.no_grad():
                reference_logprobs = response_logprobs(reference, inputs)
        ratios = logprobs - reference_logprobs
        return config.beta * ratios, ratios

    for batch in loop.batches(training):
        if selection is not None:
            selection.evaluate_if_due()
            if loop.steps_done == loop.total_steps:
                continue
        labels, pairs = response_labels(batch), group_pairs(batch)
        desirable, decided = int(labels.desirable.sum()), int(pairs.decided.sum())
        undesirable = len(labels.desirable) - desirable
        responses = sum(group.k for group in batch)
        point = reference_point(
            mismatched_groups(batch, encoder.max_length), ratios_of, passes, loop.raise_if_stopped
        )
        sums = {
            "loss": 0.0,
            "accuracy": 0.0 if decided else math.nan,
            "reward_chosen": 0.0 if desirable else math.nan,
            "reward_rejected": 0.0 if undesirable else math.nan,
            "kl": 0.0,
        }
        for micro, inputs in loop.passes(passes, batch):
            loop.raise_if_stopped()
            rewards, ratios = ratios_of(micro, inputs)
            own = response_labels(micro, rewards.device)
            losses = kto_loss(
                ratios[own.place],
                own.desirable,
                point,
                beta=config.beta,
                desirable_weight=config.desirable_weight,
                undesirable_weight=config.undesirable_weight,
            )
            micro_loss = (losses * own.weight).sum() / len(labels.place)
            micro_loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                own_pairs = group_pairs(micro, device=rewards.device)
                correct = (rewards[own_pairs.chosen] > rewards[own_pairs.rejected])[own_pairs.decided]
                labelled = rewards[own.place]
                sums["loss"] += micro_loss.item()
                sums["accuracy"] += float(correct.sum()) / max(1, decided)
                sums["reward_chosen"] += float(labelled[own.desirable].sum()) / max(1, desirable)
                sums["reward_rejected"] += float(labelled[~own.desirable].sum()) / max(1, undesirable)
                sums["kl"] -= float(ratios.sum()) / responses
        sums["reward_margin"] = sums["reward_chosen"] - sums["reward_rejected"]
        tokens = sum(group.encoded.tokens for group in batch)
        loop.step(sums, common={"reference_point": point}, tokens=tokens)
        if held_out and loop.is_due(config.evaluate_every):
            accuracy = held_out_accuracy(held_out, ratios_of, passes, loop.raise_if_stopped)
            events.metrics(loop.steps_done, {"held_out_accuracy": accuracy})
        if selection is not None and loop.steps_done == loop.total_steps:
            selection.finish()

    if held_out:
        accuracy = held_out_accuracy(held_out, ratios_of, passes, loop.raise_if_stopped)
        loop.metrics["held_out_accuracy"] = accuracy
        events.metrics(loop.steps_done, {"held_out_accuracy": accuracy})
    loop.write_output(lambda folder: save_policy(policy, tokenizer, folder, instruction=encoder.instruction))
    every = response_labels(training).desirable
    return {
        **count_learned(training),
        "desirable": int(every.sum()),
        "undesirable": int((~every).sum()),
        "truncated_prompts": encoder.truncated,
        "metrics": loop.metrics,
    }


def response_labels(groups: Sequence[PreferenceGroup], device: torch.device | str = "cpu") -> Labels:
    """Every ranking's labels of its responses; a response has one by each ranking, and may have both kinds. Rankings of weight 0
    have none."""
    places, desirable, weights = [], [], []
    for ranking, own_places in rankings_with_places(groups):
        if not ranking.weight:
            continue
        values = mean_preferences(ranking_comparisons(ranking), len(own_places))
        for place, value in zip(own_places, values, strict=True):
            if value is not None and abs(value - 0.5) > TIE:
                places.append(place)
                desirable.append(value > 0.5)
                weights.append(ranking.weight)
    return Labels(
        place=torch.tensor(places, dtype=torch.long, device=device),
        desirable=torch.tensor(desirable, dtype=torch.bool, device=device),
        weight=torch.tensor(weights, dtype=torch.float32, device=device),
    )


def mismatched_groups(batch: Sequence[PreferenceGroup], max_tokens: int) -> list[IndexedGroup]:
    """Each prompt of a batch with the responses of the next group, in a circle, that has another prompt; none where all have
    the same. Of a prompt that does not fit beside them, the oldest tokens are cut."""
    mismatched = []
    for number, group in enumerate(batch):
        prompt = group.encoded.prompt
        others = (*batch[number + 1 :], *batch[:number])
        other = next((other.encoded for other in others if other.encoded.prompt != prompt), None)
        if other is not None:
            room = max_tokens - max(map(len, other.responses))
            mismatched.append(IndexedGroup(EncodedGroup(prompt[-room:], other.responses), number))
    return mismatched


@torch.no_grad()
def reference_point(
    mismatched: Sequence[IndexedGroup],
    ratios_of: Callable[..., tuple[Tensor, Tensor]],
    passes: Passes,
    check_stop: Callable[[], None],
) -> float:
    """The mean log ratio of the mismatched responses, no less than 0; 0 without any."""
    total, count = 0.0, 0
    for micro, inputs in passes(mismatched):
        check_stop()
        _, ratios = ratios_of(micro, inputs)
        total += float(ratios.double().sum())
        count += len(ratios)
    return max(0.0, total / max(1, count))
