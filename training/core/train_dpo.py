"""DPO from rankings: each response's log-prob is computed once, and all pairs come from the k of them.

Soft labels, margins and label smoothing are those of the reward model's loss, on implicit rewards. The reference's
log-probs are constant, so they are computed once, before the first step, and stored in the checkpoint. With patience the policy
answers held-out prompts on the way, and reward models choose the weights that are kept (`checkpoint_selection`).
Left out: new samples while training (online DPO); rounds of the site do that between runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from training.configs import DPOConfig
from training.core.batching import Batch, Passes
from training.core.divergence import find_reference
from training.core.errors import BadInput
from training.core.events import Events
from training.core.held_out_sampling import select_by_answers
from training.core.job_directory import Job
from training.core.logprobs import response_logprobs
from training.core.losses import implicit_reward, ipo_loss, preference_loss
from training.core.model_loading import (
    autocast,
    device,
    save_policy,
)
from training.core.preference_groups import (
    PreferenceGroup,
    count_learned,
    group_pairs,
    pair_fraction,
    ranking_comparisons,
    rankings_with_places,
)
from training.core.preference_job import load_preference_job
from training.core.rankings import Pairs, mean_preferences
from training.core.training_loop import TrainingLoop


def train(job: Job, config: DPOConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy, and return the job's result."""
    policy, tokenizer, source, reference_source, encoder, passes, groups, held_out = load_preference_job(
        job, config, events
    )
    training = [group for group in groups if not group.held_out and any(group.pair_counts)]
    if not training:
        raise BadInput("No training row of data.jsonl prefers one response to another.")

    def new_reference() -> Any:
        return find_reference(reference_source, source, policy, encoder.max_length, config)

    loop = TrainingLoop(job, config, policy, examples=len(training), events=events)
    if "reference" not in loop.extra:
        frozen = policy
        if loop.steps_done or reference_source != source:
            frozen = new_reference()
        loop.extra["reference"] = summed_logprobs(
            frozen, groups, passes, config.precision, loop.raise_if_stopped
        )
        del frozen
    starts = group_offsets(groups)
    reference = loop.extra["reference"].to(device())
    selection = select_by_answers(
        loop,
        config,
        encoder,
        groups,
        new_reference,
    )

    def reference_of(micro: Sequence[PreferenceGroup]) -> Tensor:
        return reference[[starts[group.index] + offset for group in micro for offset in range(group.k)]]

    def rewards_of(micro: Sequence[PreferenceGroup], inputs: Batch) -> tuple[Tensor, Tensor]:
        """(K,) implicit rewards, per token for the loss ipo_mean, and (K,) summed log-probs."""
        with autocast(config.precision):
            logprobs = response_logprobs(policy, inputs)
        rewards = implicit_reward(logprobs, reference_of(micro), beta=config.beta)
        return rewards / inputs.lengths if config.loss == "ipo_mean" else rewards, logprobs

    for batch in loop.batches(training):
        if selection is not None:
            selection.evaluate_if_due()
            if loop.steps_done == loop.total_steps:
                continue
        all_pairs = group_pairs(batch)
        decided, responses = int(all_pairs.decided.sum()), sum(group.k for group in batch)
        sums = dict.fromkeys(("loss", "accuracy", "reward_chosen", "reward_rejected", "kl"), 0.0)
        sums["accuracy"] = 0.0 if decided else math.nan
        for micro, inputs in loop.passes(passes, batch):
            loop.raise_if_stopped()
            rewards, logprobs = rewards_of(micro, inputs)
            pairs = group_pairs(micro, config.margin, rewards.device)
            chosen, rejected = rewards[pairs.chosen], rewards[pairs.rejected]
            weights = pairs.weights(config.reduction) * pair_fraction(micro, batch, config.reduction)
            micro_loss = (pair_losses(chosen, rejected, pairs, config) * weights).sum()
            if config.nll_weight:
                best, best_weights = best_responses(micro)
                likelihoods = logprobs[best] / inputs.lengths[best] * logprobs.new_tensor(best_weights)
                count = len(best_responses(batch)[0])
                micro_loss = micro_loss - config.nll_weight * likelihoods.sum() / count
            micro_loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                sums["loss"] += micro_loss.item()
                sums["accuracy"] += float((chosen > rejected)[pairs.decided].sum()) / max(1, decided)
                sums["reward_chosen"] += float(chosen.sum()) / len(all_pairs.chosen)
                sums["reward_rejected"] += float(rejected.sum()) / len(all_pairs.chosen)
                sums["kl"] += float((reference_of(micro) - logprobs).sum()) / responses
        sums["reward_margin"] = sums["reward_chosen"] - sums["reward_rejected"]
        loop.step(sums, tokens=sum(group.encoded.tokens for group in batch))
        if held_out and loop.is_due(config.evaluate_every):
            accuracy = held_out_accuracy(held_out, rewards_of, passes, loop.raise_if_stopped)
            events.metrics(loop.steps_done, {"held_out_accuracy": accuracy})
        if selection is not None and loop.steps_done == loop.total_steps:
            selection.finish()

    if held_out:
        loop.metrics["held_out_accuracy"] = held_out_accuracy(
            held_out, rewards_of, passes, loop.raise_if_stopped
        )
        events.metrics(loop.steps_done, {"held_out_accuracy": loop.metrics["held_out_accuracy"]})
    loop.write_output(lambda folder: save_policy(policy, tokenizer, folder, instruction=encoder.instruction))
    return {
        **count_learned(training),
        "truncated_prompts": encoder.truncated,
        "metrics": loop.metrics,
    }


def pair_losses(chosen: Tensor, rejected: Tensor, pairs: Pairs, config: DPOConfig) -> Tensor:
    """(N,) losses of pairs by their implicit rewards. Label smoothing turns a probability p into p + e (1 - 2p)."""
    probability = pairs.probability
    if config.loss == "sigmoid":
        probability = probability + config.label_smoothing * (1 - 2 * probability)
        return preference_loss(chosen, rejected, margin=pairs.margin, probability=probability)
    return ipo_loss(chosen, rejected, beta=config.beta, probability=probability)


def best_responses(groups: Sequence[PreferenceGroup]) -> tuple[list[int], list[float]]:
    """The positions of each ranking's best responses among all responses of `groups`, and the ranking's weight for each.

    The best have the highest mean probability of being preferred. One response may be the best of several rankings. A ranking
    of ties only has none, nor has one of weight 0; a soft label of one half has both.
    """
    best, weights = [], []
    for ranking, places in rankings_with_places(groups):
        compared = ranking_comparisons(ranking)
        if compared and ranking.weight:
            values = mean_preferences(compared, len(places))
            highest = max(value for value in values if value is not None)
            own = [
                place
                for place, value in zip(places, values, strict=True)
                if value is not None and value >= highest
            ]
            best += own
            weights += [ranking.weight] * len(own)
    return best, weights


def group_offsets(groups: Sequence[PreferenceGroup]) -> list[int]:
    """The position of each group's first response among all responses of the groups."""
    starts, count = [], 0
    for group in groups:
        starts.append(count)
        count += group.k
    return starts


@torch.no_grad()
def summed_logprobs(
    policy: Any,
    groups: Sequence[PreferenceGroup],
    passes: Passes,
    precision: str,
    check_stop: Callable[[], None],
) -> Tensor:
    """(K,) log-probs, summed over each response, of all responses of all groups, in order."""
    starts = group_offsets(groups)
    summed = torch.empty(sum(group.k for group in groups))
    for micro, inputs in passes(groups):
        check_stop()
        with autocast(precision):
            logprobs = response_logprobs(policy, inputs)
        places = [starts[group.index] + offset for group in micro for offset in range(group.k)]
        summed[places] = logprobs.cpu()
    return summed


@torch.no_grad()
def held_out_accuracy(
    groups: Sequence[PreferenceGroup],
    rewards_of: Callable[..., Any],
    passes: Passes,
    check_stop: Callable[[], None],
) -> float:
    """The fraction of held-out pairs that the policy's implicit reward orders as people did."""
    correct = count = 0
    for micro, inputs in passes(groups):
        check_stop()
        rewards, _ = rewards_of(micro, inputs)
        pairs = group_pairs(micro, device=rewards.device)
        correct += int((rewards[pairs.chosen] > rewards[pairs.rejected])[pairs.decided].sum())
        count += int(pairs.decided.sum())
    return correct / count
