"""A reliability diagram: how often a reward model is right, over how sure it is. The template holds the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SIDE = 240
"""Length of an axis, from 50% to 100%, in the drawing's units; a model is never surer of a pair than of its reverse, so there
is nothing below."""
LARGEST = 13.0
SMALLEST = 3.0


@dataclass(frozen=True)
class Dot:
    """The pairs that the model is about so sure of. `y` is measured downwards; the area goes with the number of pairs."""

    x: float
    y: float
    radius: float
    confidence: float
    accuracy: float
    pairs: int


def dots(bins: Sequence[dict[str, Any]]) -> list[Dot]:
    """A report's `reliability` as dots, those right less often than a coin on the lower edge."""
    most = max((line["pairs"] for line in bins), default=0)
    return [
        Dot(
            x=round(_place(line["confidence"]), 1),
            y=round(SIDE - _place(line["accuracy"]), 1),
            radius=round(max(SMALLEST, LARGEST * (line["pairs"] / most) ** 0.5), 1),
            confidence=line["confidence"],
            accuracy=line["accuracy"],
            pairs=line["pairs"],
        )
        for line in bins
        if line["pairs"]
    ]


def _place(share: float) -> float:
    return SIDE * 2 * (min(max(share, 0.5), 1.0) - 0.5)
