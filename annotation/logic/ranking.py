"""From a ranking to preference pairs.

Ranks are integers, 1 is best, equal ranks are ties: `[2, 1, 2]` says that the second response is best and that the
other two are tied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from string import ascii_uppercase

from annotation.logic.limits import MAX_RESPONSES

LETTERS = ascii_uppercase[:MAX_RESPONSES]
"""The names of an item's answers, in the order shown."""


def dense(ranks: Sequence[int]) -> list[int]:
    """Dense ranks, the same order without gaps: `[5, 1, 5, 9] -> [2, 1, 2, 3]`."""
    dense_rank = {rank: number for number, rank in enumerate(sorted(set(ranks)), start=1)}
    return [dense_rank[rank] for rank in ranks]


def levels(ranks: Sequence[int]) -> list[list[int]]:
    """Positions from best to worst, ties together: `[2, 1, 2] -> [[1], [0, 2]]`."""
    return [[i for i, rank in enumerate(ranks) if rank == level] for level in sorted(set(ranks))]


def in_words(ranks: Mapping[int, int], shown: Sequence[int]) -> str:
    """`C > A = D > B`, by the letters under which the answers were shown."""
    placed = [(letter, ranks[pk]) for letter, pk in zip(LETTERS, shown, strict=False) if pk in ranks]
    return " > ".join(
        " = ".join(placed[i][0] for i in level) for level in levels([rank for _, rank in placed])
    )


def pairs(ranks: Sequence[int]) -> list[tuple[int, int]]:
    """Every (preferred, other) pair of positions that the ranking implies: at most k choose 2, and none from a tie
    (InstructGPT: Ouyang et al. 2022, arXiv:2203.02155, section 3.5)."""
    ordered = ((i, j) if ranks[i] < ranks[j] else (j, i) for i, j in combinations(range(len(ranks)), 2))
    return [(i, j) for i, j in ordered if ranks[i] != ranks[j]]
