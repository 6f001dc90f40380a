"""From a ranking to preference pairs.

Ranks are integers, 1 is best, equal ranks are ties: `[2, 1, 2]` says that the second response is best and that the
other two are level.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

LETTERS = "ABCDEFGHI"
"""The names of an item's answers, in the order shown."""
MARGINS = {"significantly": 1.0, "better": 2 / 3, "slightly": 1 / 3, "negligibly": 0.0}
"""What a degree of preference adds to the margin between two rewards: the "small" form of Llama 2
(Touvron et al. 2023, arXiv:2307.09288, table 27)."""


def dense(ranks: Sequence[int]) -> list[int]:
    """The same order without gaps: `[5, 1, 5, 9] -> [2, 1, 2, 3]`."""
    place = {rank: number for number, rank in enumerate(sorted(set(ranks)), start=1)}
    return [place[rank] for rank in ranks]


def levels(ranks: Sequence[int]) -> list[list[int]]:
    """Positions from best to worst, ties together: `[2, 1, 2] -> [[1], [0, 2]]`."""
    return [[i for i, rank in enumerate(ranks) if rank == level] for level in sorted(set(ranks))]


def pairs(ranks: Sequence[int]) -> list[tuple[int, int]]:
    """Every (preferred, other) pair of positions that the ranking implies: at most k choose 2, and none from a tie
    (InstructGPT: Ouyang et al. 2022, arXiv:2203.02155, section 3.5)."""
    ordered = ((i, j) if ranks[i] < ranks[j] else (j, i) for i, j in combinations(range(len(ranks)), 2))
    return [(i, j) for i, j in ordered if ranks[i] != ranks[j]]


def margin(degree: str | None) -> float:
    """The margin that belongs to a degree; a ranking has none, so 0."""
    return MARGINS[degree] if degree else 0.0
