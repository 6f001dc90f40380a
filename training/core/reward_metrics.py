"""Metrics of a reward model: agreement with people, by degree and by length, beside the people's agreement with each other;
calibration; and the fraction of unsafe responses that it recognises.

All lengths are in characters, so that models with different tokenizers can be compared.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from training.configs import DEGREES, MARGINS
from training.core.calibration import (
    Choices,
    calibration_error,
    calibration_error_by_chance,
    confidence,
    reliability_bins,
)
from training.core.noise_ceiling import mean_interval, noise_ceiling
from training.core.preference_groups import PreferenceGroup, criterion_pairs, safety_labels
from training.core.rankings import pairs_of


@dataclass(frozen=True)
class ScoredPair:
    """One comparison: the rewards of its two responses, in logits, and the attributes that metrics are grouped by."""

    chosen: float
    rejected: float
    degree: str | None
    length: int
    """Characters of the chosen response."""
    length_difference: int
    """Characters of the chosen response less those of the rejected one."""
    probability: float
    """Fraction of people who prefer the chosen response."""
    repeated: bool
    """Whether the same responses have another ranking."""

    @property
    def correct(self) -> float:
        """1 if the model agrees with the ranking, 0 if not, a half for equal rewards."""
        return is_correct(self.chosen, self.rejected)

    @property
    def agreement(self) -> float:
        """The fraction of people who agree with the model, which its confidence should equal. It differs from `correct`
        for soft labels only."""
        return self.probability * self.correct + (1 - self.probability) * (1 - self.correct)


def reward_report(
    groups: Sequence[PreferenceGroup], rewards: Sequence[Sequence[float]], *, margin: str
) -> dict[str, Any]:
    """The metrics of report.json over the rankings that have ranks. rewards: k logits for each group's responses.

    Margins do not affect accuracy. All means are over pairs, not means of batch means; ties, soft labels of one half among
    them, are counted apart.
    """
    by_group = [scored_pairs(group, scores) for group, scores in zip(groups, rewards, strict=True)]
    pairs = [pair for some in by_group for pair in some]
    table = MARGINS[margin] | {None: 0.0}
    reliability = [(confidence(pair.chosen - pair.rejected), pair.agreement) for pair in pairs]
    by_degree = {degree: [pair for pair in pairs if pair.degree == degree] for degree in (*DEGREES, None)}
    agreements = [annotator_agreements(group) for group in groups]
    agreement = _mean(agrees for some in agreements for agrees in some)
    agreement_interval = mean_interval(agreements)
    return {
        "prompts": len({str(group.rankings[0].prompt) for group in groups if group.by_people}),
        "pairs": len(pairs),
        "ties": sum(group.ties for group in groups),
        "accuracy": _mean(pair.correct for pair in pairs),
        "accuracy_interval": mean_interval([[pair.correct for pair in some] for some in by_group]),
        "accuracy_by_degree": {degree or "none": _accuracy(some) for degree, some in by_degree.items()},
        "accuracy_by_length": {
            "shorter_preferred": _accuracy([pair for pair in pairs if pair.length_difference < 0]),
            "longer_preferred": _accuracy([pair for pair in pairs if pair.length_difference > 0]),
            "same_length": _accuracy([pair for pair in pairs if pair.length_difference == 0]),
        },
        "accuracy_by_length_quartile": accuracy_by_length_quartile(pairs),
        "annotator_agreement": agreement,
        "annotator_agreement_interval": agreement_interval,
        "annotator_comparisons": sum(map(len, agreements)),
        "noise_ceiling": None if agreement is None else noise_ceiling(agreement),
        "noise_ceiling_interval": agreement_interval and [*map(noise_ceiling, agreement_interval)],
        "accuracy_where_repeated": _mean(pair.correct for pair in pairs if pair.repeated),
        "ece": calibration_error(reliability),
        "ece_by_chance": calibration_error_by_chance(_choices(groups, rewards)),
        "ece_with_margin": calibration_error(
            [(confidence(pair.chosen - pair.rejected, table[pair.degree]), pair.agreement) for pair in pairs]
        ),
        "reliability": reliability_bins(reliability),
        "mean_chosen": _mean(pair.chosen for pair in pairs),
        "mean_rejected": _mean(pair.rejected for pair in pairs),
        **safety_metrics(groups, rewards),
    }


def scored_pairs(group: PreferenceGroup, scores: Sequence[float]) -> list[ScoredPair]:
    """The pairs of all rankings of a group. scores: the k rewards of its responses, in logits."""
    repeated = sum(ranking.ranks is not None for ranking in group.rankings) > 1
    pairs = []
    for ranking, places in zip(group.rankings, group.places, strict=True):
        lengths = [len(response) for response in ranking.responses]
        for better, worse in pairs_of(ranking.ranks or []):
            first = ranking.probability
            pairs.append(
                ScoredPair(
                    chosen=scores[places[better]],
                    rejected=scores[places[worse]],
                    degree=ranking.degree,
                    length=lengths[better],
                    length_difference=lengths[better] - lengths[worse],
                    probability=1.0 if first is None else max(first, 1 - first),
                    repeated=repeated,
                )
            )
    return pairs


def annotator_agreements(group: PreferenceGroup) -> list[bool]:
    """Whether two rankings order a pair alike, for every two rankings of the group and every pair that both order.

    As in an accuracy, a pair that either of them ties does not count.
    """
    orders = [
        {(places[better], places[worse]) for better, worse in pairs_of(ranking.ranks or [])}
        for ranking, places in zip(group.rankings, group.places, strict=True)
    ]
    return [
        pair in second
        for first, second in combinations(orders, 2)
        for pair in sorted(first)
        if pair in second or pair[::-1] in second
    ]


def accuracy_by_length_quartile(pairs: Sequence[ScoredPair]) -> list[dict[str, float | int | None]]:
    """Accuracy in up to four parts by the length of the chosen response, shortest first, with the `shortest` and `longest`
    of each.

    The borders are the lengths of the pairs a quarter, a half and three quarters of the way up. Equal lengths are in one
    part, so parts may be of unequal size, or missing.
    """
    lengths = sorted(pair.length for pair in pairs)
    borders = [lengths[math.ceil(len(lengths) * quarter / 4) - 1] for quarter in (1, 2, 3)] if pairs else []
    parts: dict[int, list[ScoredPair]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.length):
        parts.setdefault(sum(border < pair.length for border in borders), []).append(pair)
    return [
        {"shortest": part[0].length, "longest": part[-1].length, **_accuracy(part)} for part in parts.values()
    ]


def safety_metrics(
    groups: Sequence[PreferenceGroup], rewards: Sequence[Sequence[float]]
) -> dict[str, float | int | None]:
    """The fraction of unsafe responses that score below 0, as in Llama 2 (table 28), and of safe ones that score above;
    over labels. Meaningful for models trained with a safety loss, whose 0 separates the two."""
    labels = safety_labels(groups)
    scores = _flat(rewards)
    places, safe_values = labels.place.tolist(), labels.safe.tolist()
    labelled = [(scores[place], safe == 1) for place, safe in zip(places, safe_values, strict=True)]
    return {
        "unsafe_labels": sum(not safe for _, safe in labelled),
        "unsafe_recall": _mean(score < 0 for score, safe in labelled if not safe),
        "safe_labels": sum(safe for _, safe in labelled),
        "safe_recall": _mean(score > 0 for score, safe in labelled if safe),
    }


def criteria_report(
    groups: Sequence[PreferenceGroup],
    rewards: Sequence[Sequence[float]],
    criteria: Mapping[str, Sequence[Sequence[float]]],
) -> dict[str, Any]:
    """What report.json holds besides for a model with criteria, else nothing. criteria: by criterion, k scores for each
    group's responses."""
    if not criteria:
        return {}
    accuracies = {name: criterion_accuracy(groups, scores, name) for name, scores in criteria.items()}
    known = [row["accuracy"] for row in accuracies.values() if row["accuracy"] is not None]
    return {
        "criteria_accuracy": _mean(known),
        "accuracy_by_criterion": [{"criterion": name, **row} for name, row in accuracies.items()],
        "criteria_correlation": correlations([_flat(scores) for scores in (rewards, *criteria.values())]),
    }


def criterion_accuracy(
    groups: Sequence[PreferenceGroup], scores: Sequence[Sequence[float]], criterion: str
) -> dict[str, float | int | None]:
    """The accuracy of a criterion's scores on the pairs that its ratings order."""
    pairs, flat = criterion_pairs(groups, criterion), _flat(scores)
    ordered = zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True)
    return {
        "accuracy": _mean(is_correct(flat[chosen], flat[rejected]) for chosen, rejected in ordered),
        "pairs": len(pairs.chosen),
    }


def correlations(heads: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """Pearson's correlation of every two heads' scores of the same responses; None where one of them does not vary."""

    def correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
        try:
            return statistics.correlation(one, other)
        except statistics.StatisticsError:
            return None

    return [[correlation(one, other) for other in heads] for one in heads]


def _choices(groups: Sequence[PreferenceGroup], rewards: Sequence[Sequence[float]]) -> list[Choices]:
    """People's rankings of all groups, with their responses' rewards."""
    return [
        ([scores[place] for place in places], pairs)
        for group, scores in zip(groups, rewards, strict=True)
        for ranking, places in zip(group.rankings, group.places, strict=True)
        if (pairs := pairs_of(ranking.ranks or []))
    ]


def _accuracy(pairs: Sequence[ScoredPair]) -> dict[str, float | int | None]:
    return {"accuracy": _mean(pair.correct for pair in pairs), "pairs": len(pairs)}


def is_correct(chosen: float, rejected: float) -> float:
    """1 if the preferred response has the higher reward, 0 if not, a half for equal rewards."""
    return 0.5 if chosen == rejected else float(chosen > rejected)


def _flat(scores: Sequence[Sequence[float]]) -> list[float]:
    return [score for group in scores for score in group]


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None
