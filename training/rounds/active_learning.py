"""Active learning: which prompts to send to annotators, and which of their answers. Plain Python.

Each prompt's inclusion probability is exact, so that statistics over the sample can be weighted back to all prompts.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from statistics import fmean
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

MIN_WEIGHT = 0.02
"""So that every prompt can be drawn."""


@dataclass(frozen=True)
class Draw(Generic[Key]):
    """A key in the sample. control: it belongs to the random sample, which ignores the weights."""

    key: Key
    probability: float
    control: bool


def draw(
    weights: Mapping[Key, float], count: int, *, control_share: float, rng: random.Random
) -> list[Draw[Key]]:
    """`count` different keys, or all if there are fewer: a share of them uniformly, the others by weight.

    A key's inclusion probability is the mixture of the two (`systematic_sample`). A key in the sample is a control with
    the uniform part's share of its probability, so that the controls are a uniform sample of all keys.
    """
    if count >= len(weights):
        return [Draw(key, 1.0, control=rng.random() < control_share) for key in weights]
    uniform = control_share * count / len(weights)
    rest = inclusion_probabilities(weights, (1 - control_share) * count)
    mixed = inclusion_probabilities({key: uniform + rest[key] for key in weights}, count)
    return [
        Draw(key, mixed[key], control=rng.random() < uniform / mixed[key])
        for key in systematic_sample(mixed, rng=rng)
    ]


def inclusion_probabilities(weights: Mapping[Key, float], count: float) -> dict[Key, float]:
    """Probabilities proportional to the weights, each at most 1, with the sum `count`."""
    certain: set[Key] = set()
    while True:
        left = {key: max(weight, 1e-9) for key, weight in weights.items() if key not in certain}
        scale = (count - len(certain)) / sum(left.values()) if left else 0.0
        over = {key for key, weight in left.items() if weight * scale > 1}
        if not over:
            return {key: 1.0 if key in certain else left[key] * scale for key in weights}
        certain |= over


def systematic_sample(probabilities: Mapping[Key, float], *, rng: random.Random) -> list[Key]:
    """Systematic sampling (Madow 1949): a sample with exactly these inclusion probabilities, of the size of their sum. The
    keys are laid on a line in random order, each as long as its probability, and picked at every 1 from a random offset."""
    order = list(probabilities)
    rng.shuffle(order)
    ends = list(accumulate(probabilities[key] for key in order))
    count = round(ends[-1])
    offset = rng.random()
    marks = [offset + number for number in range(count)]
    # rounding may leave the last mark just past the end
    return [order[min(bisect_right(ends, mark), len(order) - 1)] for mark in marks]


STRATEGIES = ("uniform", "uncertain", "disagreement")


def weight(strategy: str, scores: Sequence[Sequence[float]]) -> float:
    """A prompt's weight in the draw, from 0 to about 1. scores: of its answers, by the reward model and, if there is one, by
    the second reward model."""
    if strategy == "uniform" or not scores:
        return 1.0
    if strategy == "disagreement" and len(scores) > 1:
        return MIN_WEIGHT + disagreement(scores[0], scores[1])
    return MIN_WEIGHT + uncertainty(scores[0])


def uncertainty(rewards: Sequence[float]) -> float:
    """The mean of 4 p (1 - p) over pairs of answers, from 0 to 1; p is the probability that one is preferred."""
    probabilities = [_sigmoid(a - b) for a, b in combinations(rewards, 2)]
    return fmean(4 * p * (1 - p) for p in probabilities) if probabilities else 0.0


def disagreement(first: Sequence[float], second: Sequence[float]) -> float:
    """The mean difference, over pairs of answers, between two reward models' probabilities that one is preferred."""
    gaps = [
        abs(_sigmoid(first[i] - first[j]) - _sigmoid(second[i] - second[j]))
        for i, j in combinations(range(len(first)), 2)
    ]
    return fmean(gaps) if gaps else 0.0


def closest_pair(rewards: Sequence[float]) -> tuple[int, int]:
    """The indices of the two answers with the closest rewards."""
    return min(
        combinations(range(len(rewards)), 2), key=lambda pair: abs(rewards[pair[0]] - rewards[pair[1]])
    )


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
