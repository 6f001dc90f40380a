"""The reward model from rankings: each response goes through the model once, and all pairs come from its k rewards.

A safety reward model also learns labels of safe and unsafe responses (`losses.safety_loss`), from the same scalar. With
`criteria`, ratings of the responses by each criterion are learned by a head of its own: multi-attribute reward models learn
them by regression (HelpSteer2, Wang et al. 2024; ArmoRM, Wang et al. 2024); here the pairs that they order are learned, like
those of a ranking, as people use a scale differently. Left out: a language-modelling term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from training.configs import RewardConfig
from training.core.batching import Passes
from training.core.data import read_rankings
from training.core.early_stopping import EarlyStopping
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job, write_json
from training.core.long_rows import LongRows
from training.core.losses import preference_loss, safety_loss
from training.core.model_loading import (
    build_encoder,
    is_reward_model,
    load_tokenizer,
    load_trunk,
    resolve_source,
)
from training.core.preference_groups import (
    PreferenceGroup,
    count_learned,
    count_unsafe_over_safe,
    criterion_pairs,
    group_pairs,
    group_rankings,
    pair_fraction,
    safety_labels,
    without_opinions,
)
from training.core.rankings import Pairs
from training.core.reward_metrics import criteria_report, reward_report
from training.core.reward_model import RewardModel, load_reward_model
from training.core.tokenization import warn_of_truncation
from training.core.training_loop import TrainingLoop

REFERENCE_PROMPTS = 128
"""Prompts whose responses have a mean reward of 0 after training."""

NO_CRITERIA: Mapping[str, Any] = MappingProxyType({})


class GroupScores(NamedTuple):
    """rewards: the k rewards of every group's responses, in order. criteria: by criterion, their k scores."""

    rewards: list[list[float]]
    criteria: dict[str, list[list[float]]]


def train(job: Job, config: RewardConfig, events: Events) -> dict[str, Any]:
    """Train, write the reward model with its report, and return the job's result."""
    rankings = read_rankings(job.data)
    source = resolve_source(job.model or "", job.folder)
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    if is_reward_model(source):
        model = load_reward_model(
            source, precision=config.precision, criteria=config.criterion_names, seed=config.seed
        )
    else:
        model = RewardModel(load_trunk(source), config.seed, config.precision, config.criterion_names)
    encoder = build_encoder(model.trunk, tokenizer, config.max_length)
    too_long = LongRows()
    groups = group_rankings(rankings, encoder, too_long)
    too_long.report(len(rankings), config.too_long_share, encoder, events)
    warn_of_truncation(encoder, events)
    passes = Passes(model.trunk, config.layout, config.batch_tokens, encoder.max_length)
    training = [group for group in groups if not group.held_out and has_signal(group, config)]
    held_out = [group for group in groups if group.held_out]
    check_data(training, held_out, config, events)

    loop = TrainingLoop(job, config, model, examples=len(training), events=events)
    best = EarlyStopping(loop, config.patience)

    def held_out_report() -> dict[str, Any]:
        rewards, criteria = score_groups(model, held_out, passes, loop.raise_if_stopped)
        return (
            reward_report(held_out, rewards, margin=config.margin)
            | criteria_report(held_out, rewards, criteria)
            | {"held_out_loss": held_out_loss(held_out, rewards, config, criteria)}
        )

    def evaluate_if_due() -> None:
        """Evaluate on held-out prompts every `evaluate_every` steps and, with patience, after the last step."""
        is_last = loop.steps_done == loop.total_steps
        is_due = loop.is_due(config.evaluate_every) or (is_last and config.patience)
        if not (held_out and loop.steps_done and is_due):
            return
        report = held_out_report()
        events.metrics(loop.steps_done, curve_metrics(report))
        if config.patience:
            best.record(report["held_out_loss"])
            if best.exhausted or is_last:
                best.restore()
                loop.total_steps = loop.steps_done

    evaluate_if_due()  # the run may have been stopped between a step and its evaluation
    for batch in loop.batches(training):
        count = int(group_pairs(batch).decided.sum())
        loss, accuracy = 0.0, 0.0 if count else math.nan
        for micro, inputs in loop.passes(passes, batch):
            loop.raise_if_stopped()
            rewards, criteria = model.all_scores(inputs)
            micro_loss = micro_batch_loss(rewards, micro, batch, config, criteria)
            micro_loss.backward()  # type: ignore[no-untyped-call]
            loss += micro_loss.item()
            accuracy += count_correct(rewards.detach(), micro) / max(1, count)
        loop.step({"loss": loss, "accuracy": accuracy}, tokens=sum(group.encoded.tokens for group in batch))
        evaluate_if_due()

    if not loop.has_adapters:
        model.round_weights()
    if not config.safety_weight:  # with a safety loss 0 separates safe from unsafe, and must stay where it is
        centre_rewards(model, training[:REFERENCE_PROMPTS], passes, loop.raise_if_stopped)
    report = held_out_report() | {"bias": float(model.bias)}
    if (
        held_out and not config.patience
    ):  # with patience the restored weights are of an earlier, reported step
        events.metrics(loop.steps_done, curve_metrics(report))

    def write(folder: Path) -> None:
        model.save(tokenizer, folder)
        write_json(folder / "report.json", report)

    loop.write_output(write)
    return {
        **count_learned(training),
        "truncated_prompts": encoder.truncated,
        **({"best_step": best.best_step} if config.patience else {}),
        "metrics": loop.metrics | curve_metrics(report),
        "report": report,
    }


def has_signal(group: PreferenceGroup, config: RewardConfig) -> bool:
    """Whether a group contributes to the loss."""
    has_labels = bool(config.safety_weight and group.label_count)
    return has_labels or any(any(group.count_pairs(name)) for name in (None, *config.criterion_names))


def check_data(
    training: Sequence[PreferenceGroup],
    held_out: Sequence[PreferenceGroup],
    config: RewardConfig,
    events: Events,
) -> None:
    """Raise BadInput if the data lacks what the settings need; warn where safety labels and preferences disagree."""
    if not training:
        raise BadInput("No training row of data.jsonl prefers one response to another.")
    if config.patience and not any(has_signal(group, config) for group in held_out):
        raise BadInput(
            "Early stopping needs held-out judgments, and there are none; set patience to 0.",
            setting="patience",
        )
    for name in config.criterion_names:
        if not any(any(group.count_pairs(name)) for group in training):
            raise BadInput(
                f"No training row of data.jsonl has two responses with different ratings of {name}.",
                setting="criteria",
            )
    if config.safety_weight:
        if not any(group.label_count for group in training):
            raise BadInput("No training row of data.jsonl has a safety label.", setting="safety_weight")
        if count := count_unsafe_over_safe(training):
            events.warning(
                f"{count} pairs prefer an unsafe response to a safe one, which contradicts the safety labels; Llama 2 had"
                " no such pairs."
            )


def micro_batch_loss(
    rewards: Tensor,
    part: Sequence[PreferenceGroup],
    whole: Sequence[PreferenceGroup],
    config: RewardConfig,
    criteria: Mapping[str, Tensor] = NO_CRITERIA,
) -> Tensor:
    """The contribution of a micro-batch `part` with (K,) rewards to the loss of its batch `whole`; a scalar.

    The mean preference loss; `safety_weight` times the mean safety loss over all labels of the batch; and `criteria_weight`
    times the mean over criteria of the preference loss of each, 0 for one without a pair in the batch. criteria: (K,) scores
    by criterion.
    """
    loss = mean_preference_loss(
        rewards,
        group_pairs(part, config.margin, rewards.device),
        config.reduction,
        pair_fraction(part, whole, config.reduction),
    )
    for name, scores in criteria.items():
        criterion_loss = mean_preference_loss(
            scores,
            criterion_pairs(part, name, scores.device),
            config.reduction,
            pair_fraction(part, whole, config.reduction, name),
        )
        loss = loss + config.criteria_weight / len(criteria) * criterion_loss
    if config.safety_weight:
        labels = safety_labels(part, rewards.device)
        count = max(1, sum(group.label_count for group in whole))
        losses = safety_loss(rewards[labels.place], labels.safe) * labels.weight
        loss = loss + config.safety_weight * losses.sum() / count
    return loss


def mean_preference_loss(rewards: Tensor, pairs: Pairs, reduction: str, fraction: float) -> Tensor:
    """The weighted mean loss of `pairs` of (K,) rewards by a `reduction`, times `fraction`; a scalar, 0 without pairs."""
    losses = preference_loss(
        rewards[pairs.chosen],
        rewards[pairs.rejected],
        margin=pairs.margin,
        probability=pairs.probability,
    )
    return (losses * (pairs.weights(reduction) * fraction)).sum()


def held_out_loss(
    held_out: Sequence[PreferenceGroup],
    rewards: Sequence[Sequence[float]],
    config: RewardConfig,
    criteria: Mapping[str, Sequence[Sequence[float]]] = NO_CRITERIA,
) -> float | None:
    """The training loss, margin included, of known rewards and scores by criterion, over the rows by people; without any, over
    an AI's opinions; None if no row contributes to it."""
    by_people = without_opinions(held_out)
    if any(has_signal(group, config) for group in by_people):
        held_out = by_people
    elif not any(has_signal(group, config) for group in held_out):
        return None
    by_criterion = {name: _flat(scores) for name, scores in criteria.items()}
    return micro_batch_loss(_flat(rewards), held_out, held_out, config, by_criterion).item()


def _flat(scores: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor([score for group in scores for score in group], dtype=torch.float64)


def count_correct(rewards: Tensor, groups: Sequence[PreferenceGroup]) -> int:
    """The number of decided pairs that the (K,) rewards order as people did."""
    pairs = group_pairs(groups, device=rewards.device)
    return int((rewards[pairs.chosen] > rewards[pairs.rejected])[pairs.decided].sum())


def curve_metrics(report: dict[str, Any]) -> dict[str, float | None]:
    """The values of a report that are shown as curves."""
    return {
        "held_out_accuracy": report["accuracy"],
        "held_out_loss": report["held_out_loss"],
        "ece": report["ece"],
        **{name: report[name] for name in ("criteria_accuracy",) if name in report},
    }


@torch.no_grad()
def centre_rewards(
    model: RewardModel,
    reference: Sequence[PreferenceGroup],
    passes: Passes,
    check_stop: Callable[[], None],
) -> None:
    """Set the biases so that the reference responses score 0 on average (InstructGPT; Stiennon et al. 2020), also by each
    criterion.

    They start from 0, so that a repetition after an interruption gives the same numbers.
    """
    model.bias.zero_()
    model.criterion_bias.zero_()
    rewards, criteria = score_groups(model, reference, passes, check_stop)
    model.bias.fill_(_mean(rewards))
    for place, name in enumerate(model.criteria):
        model.criterion_bias[place] = _mean(criteria[name])


def _mean(scores: Sequence[Sequence[float]]) -> float:
    flat = [score for group in scores for score in group]
    return sum(flat) / len(flat)


@torch.no_grad()
def score_groups(
    model: RewardModel, groups: Sequence[PreferenceGroup], passes: Passes, check_stop: Callable[[], None]
) -> GroupScores:
    """The scores of all groups' responses. check_stop: called between passes; may raise Stopped."""
    by_head: list[dict[int, list[float]]] = [{} for _ in range(1 + len(model.criteria))]
    for micro, inputs in passes(groups):
        check_stop()
        rewards, criteria = model.all_scores(inputs)
        for by_group, head in zip(by_head, (rewards, *criteria.values()), strict=True):
            scores = head.tolist()
            for group in micro:
                by_group[group.index], scores = scores[: group.k], scores[group.k :]
    reward, *others = [[by_group[group.index] for group in groups] for by_group in by_head]
    return GroupScores(reward, dict(zip(model.criteria, others, strict=True)))
