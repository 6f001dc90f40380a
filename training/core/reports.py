"""What a reward model is worth: agreement with people, by degree and by length, and how far its odds can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from training.configs import DEGREES, MARGINS
from training.core.encoding import Encoder
from training.core.events import Events
from training.core.judgments import Judged
from training.core.rankings import pairs_of

BINS = 20


@dataclass(frozen=True)
class ScoredPair:
    """One comparison: the rewards of its two responses, in logits, and what is known of it."""

    chosen: float
    rejected: float
    degree: str | None
    longer: int
    """Characters of the chosen response less those of the rejected one."""

    @property
    def correct(self) -> float:
        """1 where the model agrees with the person, 0 where not, a half where it sees no difference."""
        return 0.5 if self.chosen == self.rejected else float(self.chosen > self.rejected)


def report(judged: Sequence[Judged], rewards: Sequence[Sequence[float]], *, margin: str) -> dict[str, Any]:
    """Figures over the rankings that have ranks. `rewards` holds k logits for each. Margins never touch accuracy.

    All means are over pairs, not means of batch means; ties are counted apart.
    """
    pairs = [
        ScoredPair(
            scores[better],
            scores[worse],
            one.ranking.degree,
            len(one.ranking.responses[better]) - len(one.ranking.responses[worse]),
        )
        for one, scores in zip(judged, rewards, strict=True)
        for better, worse in pairs_of(one.ranking.ranks or [])
    ]
    table = MARGINS[margin]
    by_degree = {degree: [pair for pair in pairs if pair.degree == degree] for degree in (*DEGREES, None)}
    return {
        "prompts": len({str(one.ranking.prompt) for one in judged}),
        "pairs": len(pairs),
        "ties": sum(one.ties for one in judged),
        "accuracy": _mean(pair.correct for pair in pairs),
        "accuracy_by_degree": {degree or "none": _accuracy(found) for degree, found in by_degree.items()},
        "accuracy_by_length": {
            "shorter_preferred": _accuracy([pair for pair in pairs if pair.longer < 0]),
            "longer_preferred": _accuracy([pair for pair in pairs if pair.longer > 0]),
            "same_length": _accuracy([pair for pair in pairs if pair.longer == 0]),
        },
        "ece": calibration_error(pairs, lambda pair: 0.0),
        "ece_with_margin": calibration_error(pairs, lambda pair: table[pair.degree] if pair.degree else 0.0),
        "reliability": reliability(pairs, lambda pair: 0.0),
        "mean_chosen": _mean(pair.chosen for pair in pairs),
        "mean_rejected": _mean(pair.rejected for pair in pairs),
    }


def reliability(
    pairs: Sequence[ScoredPair], margin: Callable[[ScoredPair], float]
) -> list[dict[str, float | int]]:
    """Pairs binned by how sure the model is, sigmoid(|difference| - margin), with how often it is right."""
    bins: list[list[tuple[float, float]]] = [[] for _ in range(BINS)]
    for pair in pairs:
        confidence = _sigmoid(abs(pair.chosen - pair.rejected) - margin(pair))
        bins[min(int(confidence * BINS), BINS - 1)].append((confidence, pair.correct))
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
            f"{encoder.truncated} prompts were longer than max_length = {encoder.max_length} leaves room for, and lost"
            " their oldest tokens."
        )


def _accuracy(pairs: Sequence[ScoredPair]) -> dict[str, float | int | None]:
    return {"accuracy": _mean(pair.correct for pair in pairs), "pairs": len(pairs)}


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
