"""How accurate a reward model can be where people disagree: the noise ceiling, estimated from repeated judgments.

Of two people, one prefers the first response of a pair with probability p, and so does the other: they agree with probability
a = p² + (1 - p)². The best model says what most people say, and agrees with a person with probability max(p, 1 - p) =
(1 + d) / 2, where d = |2p - 1| and a = (1 + d²) / 2. Over many pairs the mean of d is at most the square root of the mean of
d² (Jensen), so the ceiling is at most (1 + sqrt(2a - 1)) / 2, and it is that if all pairs are equally hard. A model trained on
people's judgments cannot be expected above it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

RESAMPLES = 1000
SEED = 0
FEW = 30
"""Clusters below which those that were seen say too little of those that were not."""


def noise_ceiling(agreement: float) -> float:
    """The highest accuracy that a model can reach, given how often two people agree; one half where they agree no better
    than by chance."""
    return (1 + math.sqrt(max(0.0, 2 * agreement - 1))) / 2


def mean_interval(clusters: Sequence[Sequence[float]]) -> list[float] | None:
    """The 95% interval [low, high] of the mean of all numbers from 0 to 1, by a bootstrap over clusters (prompts), since what
    belongs to one prompt is alike; None with fewer than two clusters. Of fewer than `FEW`, and where all are alike, two
    clusters of zeros and two of ones are added (Agresti and Coull 1998), or a few that agree by chance would seem certain. The
    same numbers always give the same interval."""
    sums: list[tuple[float, float]] = [(sum(cluster), len(cluster)) for cluster in clusters if cluster]
    if len(sums) < 2:
        return None
    if len(sums) < FEW or len({total / count for total, count in sums}) == 1:
        size = sum(count for _, count in sums) / len(sums)
        sums += [(0.0, size), (size, size)] * 2
    rng = random.Random(SEED)  # noqa: S311 - no secret
    means = []
    for _ in range(RESAMPLES):
        drawn = rng.choices(sums, k=len(sums))
        means.append(sum(total for total, _ in drawn) / sum(count for _, count in drawn))
    means.sort()
    return [means[round(0.025 * (RESAMPLES - 1))], means[round(0.975 * (RESAMPLES - 1))]]
