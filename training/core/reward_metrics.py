"""What a reward model is worth: agreement with people, by degree and by length, beside the people's agreement with each
other; how far its odds can be trusted; and how many unsafe responses it finds.

All lengths are in characters, so that models with different tokenizers can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from torch import Tensor

from training.configs import DEGREES, MARGINS
from training.core.events import Events
from training.core.preference_groups import Judged, safety_labels
from training.core.rankings import pairs_of
from training.core.tokenization import Encoder

BINS = 20


@dataclass(frozen=True)
class ScoredPair:
    """One comparison: the rewards of its two responses, in logits, and what is known of it."""

    chosen: float
    rejected: float
    degree: str | None
    length: int
    """Characters of the chosen response."""
    longer: int
    """Characters of the chosen response less those of the rejected one."""
    probability: float
    """Share of people who prefer the chosen response."""
    repeated: bool
    """Whether somebody else ranked the same responses."""

    @property
    def correct(self) -> float:
        """1 where the model agrees with the person, 0 where not, a half where it sees no difference."""
        return 0.5 if self.chosen == self.rejected else float(self.chosen > self.rejected)

    @property
    def agreeing(self) -> float:
        """The share of people who agree with the model: as sure as it should be. It differs from `correct` for soft
        labels only."""
        return self.probability * self.correct + (1 - self.probability) * (1 - self.correct)


def report(judged: Sequence[Judged], rewards: Sequence[Sequence[float]], *, margin: str) -> dict[str, Any]:
    """Figures over the rankings that have ranks. `rewards` holds k logits for each prompt's responses.

    Margins never touch accuracy. All means are over pairs, not means of batch means; ties are counted apart, a soft label
    of one half being a tie.
    """
    pairs = [pair for one, scores in zip(judged, rewards, strict=True) for pair in scored_pairs(one, scores)]
    table = MARGINS[margin]
    by_degree = {degree: [pair for pair in pairs if pair.degree == degree] for degree in (*DEGREES, None)}
    agreed = [agreement for one in judged for agreement in agreements(one)]
    return {
        "prompts": len({str(one.rankings[0].prompt) for one in judged}),
        "pairs": len(pairs),
        "ties": sum(one.ties for one in judged),
        "accuracy": _mean(pair.correct for pair in pairs),
        "accuracy_by_degree": {degree or "none": _accuracy(found) for degree, found in by_degree.items()},
        "accuracy_by_length": {
            "shorter_preferred": _accuracy([pair for pair in pairs if pair.longer < 0]),
            "longer_preferred": _accuracy([pair for pair in pairs if pair.longer > 0]),
            "same_length": _accuracy([pair for pair in pairs if pair.longer == 0]),
        },
        "accuracy_by_length_quartile": by_length_quartile(pairs),
        "annotator_agreement": _mean(agreed),
        "annotator_comparisons": len(agreed),
        "accuracy_where_repeated": _mean(pair.correct for pair in pairs if pair.repeated),
        "ece": calibration_error(pairs, lambda pair: 0.0),
        "ece_with_margin": calibration_error(pairs, lambda pair: table[pair.degree] if pair.degree else 0.0),
        "reliability": reliability(pairs, lambda pair: 0.0),
        "mean_chosen": _mean(pair.chosen for pair in pairs),
        "mean_rejected": _mean(pair.rejected for pair in pairs),
        **safety(judged, rewards),
    }


def scored_pairs(one: Judged, scores: Sequence[float]) -> list[ScoredPair]:
    """The pairs of every ranking of one prompt's responses."""
    repeated = sum(ranking.ranks is not None for ranking in one.rankings) > 1
    found = []
    for ranking, places in zip(one.rankings, one.places, strict=True):
        lengths = [len(response) for response in ranking.responses]
        for better, worse in pairs_of(ranking.ranks or []):
            first = ranking.probability
            found.append(
                ScoredPair(
                    chosen=scores[places[better]],
                    rejected=scores[places[worse]],
                    degree=ranking.degree,
                    length=lengths[better],
                    longer=lengths[better] - lengths[worse],
                    probability=1.0 if first is None else max(first, 1 - first),
                    repeated=repeated,
                )
            )
    return found


def agreements(one: Judged) -> list[bool]:
    """For every two rankings of the same responses and every pair that both decide, whether they decide it alike.

    As in an accuracy, a pair that either of them calls a tie does not count.
    """
    votes = [
        {(places[better], places[worse]) for better, worse in pairs_of(ranking.ranks or [])}
        for ranking, places in zip(one.rankings, one.places, strict=True)
    ]
    return [
        pair in theirs
        for ours, theirs in combinations(votes, 2)
        for pair in sorted(ours)
        if pair in theirs or pair[::-1] in theirs
    ]


def by_length_quartile(pairs: Sequence[ScoredPair]) -> list[dict[str, float | int | None]]:
    """Accuracy over pairs in up to four parts by the chosen response's length, shortest first; `shortest` and `longest`
    bound each.

    The borders are the lengths of the pairs a quarter, a half and three quarters of the way up. Equal lengths stay
    together, so that parts may be of unequal size, or fall away.
    """
    lengths = sorted(pair.length for pair in pairs)
    borders = [lengths[math.ceil(len(lengths) * quarter / 4) - 1] for quarter in (1, 2, 3)] if pairs else []
    parts: dict[int, list[ScoredPair]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.length):
        parts.setdefault(sum(border < pair.length for border in borders), []).append(pair)
    return [
        {"shortest": found[0].length, "longest": found[-1].length, **_accuracy(found)}
        for found in parts.values()
    ]


def safety(judged: Sequence[Judged], rewards: Sequence[Sequence[float]]) -> dict[str, float | int | None]:
    """How many unsafe responses score below 0, as Llama 2 counts them (table 28), and how many safe ones above; over
    labels. It means something for models that learned such labels, as their 0 is where the two part."""
    labels = safety_labels(judged)
    scores = [reward for found in rewards for reward in found]
    labelled = [(scores[place], safe == 1) for place, safe in zip(*map(Tensor.tolist, labels), strict=True)]
    return {
        "unsafe_labels": sum(not safe for _, safe in labelled),
        "unsafe_recall": _mean(score < 0 for score, safe in labelled if not safe),
        "safe_labels": sum(safe for _, safe in labelled),
        "safe_recall": _mean(score > 0 for score, safe in labelled if safe),
    }


def reliability(
    pairs: Sequence[ScoredPair], margin: Callable[[ScoredPair], float]
) -> list[dict[str, float | int]]:
    """Pairs binned by how sure the model is, sigmoid(|difference| - margin), with how often people agree with it."""
    bins: list[list[tuple[float, float]]] = [[] for _ in range(BINS)]
    for pair in pairs:
        confidence = _sigmoid(abs(pair.chosen - pair.rejected) - margin(pair))
        bins[min(int(confidence * BINS), BINS - 1)].append((confidence, pair.agreeing))
    return [
        {
            "confidence": sum(confidence for confidence, _ in found) / len(found),
            "accuracy": sum(correct for _, correct in found) / len(found),
            "pairs": len(found),
        }
        for found in bins
        if found
    ]


def calibration_error(pairs: Sequence[ScoredPair], margin: Callable[[ScoredPair], float]) -> float | None:
    """Expected calibration error: the mean distance between being sure and being right, over pairs."""
    if not pairs:
        return None
    distance = sum(b["pairs"] * abs(b["confidence"] - b["accuracy"]) for b in reliability(pairs, margin))
    return distance / len(pairs)


def warn_of_truncation(encoder: Encoder, events: Events) -> None:
    """Say how many prompts lost their oldest tokens."""
    if encoder.truncated:
        events.warning(
            f"{encoder.truncated} prompts were longer than there is room for ({encoder.limit}), and lost their oldest"
            " tokens."
        )


def _accuracy(pairs: Sequence[ScoredPair]) -> dict[str, float | int | None]:
    return {"accuracy": _mean(pair.correct for pair in pairs), "pairs": len(pairs)}


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
