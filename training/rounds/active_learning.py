"""What to ask people next: which prompts, with which probability, and which of their answers. Plain Python.

The probability with which a prompt was chosen is known exactly, so that figures over what was asked can be weighted back to
figures over all prompts.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

LEAST = 0.02
"""What asking is worth at least, so that no prompt is out of reach."""


@dataclass(frozen=True)
class Chosen(Generic[Key]):
    """One that was drawn. control: it stands for an even draw, whatever its weight."""

    key: Key
    probability: float
    control: bool


def draw(
    weights: Mapping[Key, float], count: int, *, control_share: float, rng: random.Random
) -> list[Chosen[Key]]:
    """`count` different keys, or all if there are fewer: in part evenly, for the rest by weight.

    Each key's chance is a mixture of the two, and one draw keeps to it (`systematic`). A key that was drawn then belongs to
    the control slice with the even part's share of its chance, so that the slice is an even draw from all keys.
    """
    if count >= len(weights):
        return [Chosen(key, 1.0, control=rng.random() < control_share) for key in weights]
    even = control_share * count / len(weights)
    rest = inclusion(weights, (1 - control_share) * count)
    mixed = inclusion({key: even + rest[key] for key in weights}, count)
    return [
        Chosen(key, mixed[key], control=rng.random() < even / mixed[key])
        for key in systematic(mixed, rng=rng)
    ]


def inclusion(weights: Mapping[Key, float], count: float) -> dict[Key, float]:
    """Chances in proportion to the weights, none above 1, that add up to `count`."""
    certain: set[Key] = set()
    while True:
        left = {key: max(weight, 1e-9) for key, weight in weights.items() if key not in certain}
        scale = (count - len(certain)) / sum(left.values()) if left else 0.0
        over = {key for key, weight in left.items() if weight * scale > 1}
        if not over:
            return {key: 1.0 if key in certain else left[key] * scale for key in weights}
        certain |= over


def systematic(chances: Mapping[Key, float], *, rng: random.Random) -> list[Key]:
    """Keys drawn with exactly these chances, as many as these add up to (Madow 1949): in random order on a line, each as
    long as its chance, with a ruler laid along it that has a mark at every 1."""
    order = list(chances)
    rng.shuffle(order)
    ends = list(accumulate(chances[key] for key in order))
    count = round(ends[-1])
    offset = rng.random()
    marks = [offset + number for number in range(count)]
    # rounding may leave the last mark just past the end
    return [order[min(bisect_right(ends, mark), len(order) - 1)] for mark in marks]


STRATEGIES = ("uniform", "uncertain", "disagreement")


def worth(strategy: str, opinions: Sequence[Sequence[float]]) -> float:
    """What asking about a prompt's answers is worth, from 0 to about 1. opinions: their rewards by the reward model, and by
    the second opinion where there is one."""
    if strategy == "uniform" or not opinions:
        return 1.0
    if strategy == "disagreement" and len(opinions) > 1:
        return LEAST + disagreement(opinions[0], opinions[1])
    return LEAST + uncertainty(opinions[0])


def uncertainty(rewards: Sequence[float]) -> float:
    """How little a reward model can tell answers apart: the mean over their pairs of 4 p (1 - p), from 0 to 1, p being
    the probability that one is preferred."""
    chances = [_sigmoid(a - b) for a, b in combinations(rewards, 2)]
    return sum(4 * p * (1 - p) for p in chances) / len(chances) if chances else 0.0


def disagreement(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How far two reward models differ on which answers are preferred: the mean over pairs, from 0 to 1."""
    both = [
        (_sigmoid(ours[i] - ours[j]), _sigmoid(theirs[i] - theirs[j]))
        for i, j in combinations(range(len(ours)), 2)
    ]
    return sum(abs(p - q) for p, q in both) / len(both) if both else 0.0


def closest_pair(rewards: Sequence[float]) -> tuple[int, int]:
    """The places of the two answers that are hardest to tell apart."""
    return min(
        combinations(range(len(rewards)), 2), key=lambda pair: abs(rewards[pair[0]] - rewards[pair[1]])
    )


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
