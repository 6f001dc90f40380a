"""Consensus of several rankings: Bradley-Terry strengths, and the Kemeny ranking, which is closest to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, sqrt

from annotation.logic.ranking import dense

Rankings = Sequence[Sequence[int]]
"""Ranks by position, one sequence for each annotator; 1 is best, equal ranks are ties. All rank the same k answers."""


def votes(rankings: Rankings) -> list[list[float]]:
    """How many annotators prefer i to j, as `[i][j]`. A tie is half a vote each way."""
    k = len(rankings[0]) if rankings else 0
    wins = [[0.0] * k for _ in range(k)]
    for ranks in rankings:
        for i in range(k):
            for j in range(k):
                if i != j:
                    wins[i][j] += 1.0 if ranks[i] < ranks[j] else 0.5 if ranks[i] == ranks[j] else 0.0
    return wins


def bradley_terry(wins: Sequence[Sequence[float]], *, prior: float = 0.5, rounds: int = 500) -> list[float]:
    """Log strengths with mean 0, by minorization-maximization (Hunter 2004, doi:10.1214/aos/1079120141, eq. 3).

    Args:
        prior: added wins and losses of each answer against every other, so that strengths are finite even if an answer won
            all its comparisons, or if groups of answers were never compared.
    """
    k = len(wins)
    if k < 2:
        return [0.0] * k
    total_wins = [sum(row) + prior * (k - 1) for row in wins]
    strengths = [1.0] * k
    for _ in range(rounds):
        new = [
            total_wins[i]
            / sum(
                (wins[i][j] + wins[j][i] + 2 * prior) / (strengths[i] + strengths[j])
                for j in range(k)
                if j != i
            )
            for i in range(k)
        ]
        scale = exp(sum(log(s) for s in new) / k)
        new = [s / scale for s in new]
        done = max(abs(a - b) for a, b in zip(new, strengths, strict=True)) < 1e-10
        strengths = new
        if done:
            break
    return [log(s) for s in strengths]


def bradley_terry_errors(
    wins: Sequence[Sequence[float]], strengths: Sequence[float], *, prior: float = 0.5
) -> list[float]:
    """Standard errors of the log strengths: from the inverse of the information matrix of their likelihood, with the prior's wins
    and losses, on the plane where their mean is 0."""
    k = len(wins)
    # the matrix is singular along equal shifts of all strengths: adding 1/k to each entry fixes their mean
    matrix = [[1 / k] * k for _ in range(k)]
    for i in range(k):
        for j in range(k):
            if i != j:
                chance = 1 / (1 + exp(strengths[j] - strengths[i]))
                information = (wins[i][j] + wins[j][i] + 2 * prior) * chance * (1 - chance)
                matrix[i][i] += information
                matrix[i][j] -= information
    # of the inverse, 1/k in each entry belongs to that shift
    return [sqrt(max(0.0, row[i] - 1 / k)) for i, row in enumerate(_inverse(matrix))]


def _inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """Of a positive definite matrix, by Gauss and Jordan."""
    k = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(k))] for i, row in enumerate(matrix)]
    for i in range(k):
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(k):
            if i != j and rows[j][i]:
                rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[k:] for row in rows]


def kemeny(rankings: Rankings) -> list[int]:
    """The ranking, with ties, that has the least total distance to the given ones (Kemeny 1959): a pair in the opposite
    order counts 1, a tie against an order 1/2.

    Exact, by dynamic programming over the sets of answers ranked so far: 3^k steps, so for k up to 9. If votes are split
    evenly, a tie is as close as either order and is returned.
    """
    k = len(rankings[0]) if rankings else 0
    wins = votes(rankings)
    full = (1 << k) - 1
    tied, against = _tie_costs(rankings, k), _below_costs(wins, k)
    # the least cost of ranking each set first, with minus the number of tied pairs, so that ties win among equals
    best: list[tuple[float, int]] = [(0.0, 0)] + [(float("inf"), 0)] * full
    before = [0] * (full + 1)
    for placed in range(full):
        cost, ties = best[placed]
        rest = full & ~placed
        bucket = rest
        while bucket:
            below, members = rest & ~bucket, _members(bucket, k)
            step = tied[bucket] + sum(against[i][below] for i in members)
            candidate = (cost + step, ties - len(members) * (len(members) - 1) // 2)
            if candidate < best[placed | bucket]:
                best[placed | bucket], before[placed | bucket] = candidate, placed
            bucket = (bucket - 1) & rest
    ranks = [0] * k
    placed, rank = full, k
    while placed:
        for i in _members(placed & ~before[placed], k):
            ranks[i] = rank
        placed, rank = before[placed], rank - 1
    return dense(ranks)


def _members(chosen: int, k: int) -> list[int]:
    return [i for i in range(k) if chosen >> i & 1]


def _tie_costs(rankings: Rankings, k: int) -> list[float]:
    """By set of answers (bits), the distance to all rankings if these are tied: 1/2 for every ordered pair."""
    costs = [0.0] * (1 << k)
    for members in range(1, 1 << k):
        low, rest = (members & -members).bit_length() - 1, members & (members - 1)
        orders = sum(ranks[low] != ranks[j] for ranks in rankings for j in _members(rest, k))
        costs[members] = costs[rest] + orders / 2
    return costs


def _below_costs(wins: Sequence[Sequence[float]], k: int) -> list[list[float]]:
    """By answer and set of answers (bits), the distance to all rankings if the answer is ranked above these."""
    return [[sum(wins[j][i] for j in _members(below, k)) for below in range(1 << k)] for i in range(k)]


def distance(first: Sequence[int], second: Sequence[int]) -> float:
    """Kemeny's distance between two rankings, as `kemeny` counts it."""
    total = 0.0
    for i in range(len(first)):
        for j in range(i + 1, len(first)):
            a, b = _sign(first[i] - first[j]), _sign(second[i] - second[j])
            total += abs(a - b) / 2
    return total


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
