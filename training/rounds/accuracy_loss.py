"""How much less accurate a new reward model is than the old one, on the same judgments. Plain Python."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Self

from annotation.logic.agreement import Z_95

AgreedPairs = Mapping[int, tuple[float, int]]
"""By judgment id: on how many of its pairs a reward model agrees with it, and how many these are."""


@dataclass(frozen=True)
class AccuracyLoss:
    """old, new: both accuracies, on `pairs` pairs. low, high: the 95% interval of the loss, from -1 to 1."""

    old: float
    new: float
    low: float
    high: float
    pairs: int

    @property
    def value(self) -> float:
        """Below 0, the new one is more accurate."""
        return self.old - self.new

    @classmethod
    def measure(cls, new: AgreedPairs, old: AgreedPairs, cluster_of: Mapping[int, Hashable]) -> Self | None:
        """None without a pair that both were evaluated on.

        cluster_of: by judgment, what its pairs share with others (its prompt). Both models are wrong on the same hard pairs, so
        the interval is of their differences, and of a mean over prompts of unequal size (Cochran 1977). Two prompts are added,
        half of one lost, half of one gained, and one that both judge alike (Agresti and Min 2005), or a few prompts that agree
        by chance would seem certain.
        """
        lost: dict[Hashable, float] = defaultdict(float)
        sizes: dict[Hashable, int] = defaultdict(int)
        both = sorted(new.keys() & old.keys())
        for judgment in both:
            lost[cluster_of[judgment]] += old[judgment][0] - new[judgment][0]
            sizes[cluster_of[judgment]] += new[judgment][1]
        if not both:
            return None
        pairs = sum(sizes.values())
        size = pairs / len(sizes)
        added = [(size, size, 0.5), (-size, size, 0.5), (0.0, size, 1.0)]
        clusters = [(lost[one], sizes[one], 1.0) for one in sizes] + added
        total, n = pairs + 2 * size, len(sizes) + 2
        mean = sum(lost.values()) / total
        squares = sum(weight * (loss - mean * count) ** 2 for loss, count, weight in clusters)
        half = Z_95 * math.sqrt(squares * n / (n - 1)) / total
        return cls(
            old=sum(old[judgment][0] for judgment in both) / pairs,
            new=sum(new[judgment][0] for judgment in both) / pairs,
            low=max(-1.0, mean - half),
            high=min(1.0, mean + half),
            pairs=pairs,
        )
