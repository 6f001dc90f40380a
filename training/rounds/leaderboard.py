"""Ratings of policies by what annotators preferred, over all judgments of a project."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection

from annotation.analytics.figures import figure
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.logic.consensus import bradley_terry
from annotation.models import Author, Project
from annotation.models.judgments import is_current

BLOCKS, RESAMPLES = 200, 100
"""Items are resampled in so many blocks, so often."""
PREFERENCES = f"""
SELECT judgment.item_id %% {BLOCKS}, preferred.author_id, other.author_id, count(*)
FROM annotation_placement AS better
JOIN annotation_placement AS worse ON worse.judgment_id = better.judgment_id AND better.rank < worse.rank
JOIN annotation_response AS preferred ON preferred.id = better.response_id
JOIN annotation_response AS other ON other.id = worse.response_id AND other.author_id <> preferred.author_id
JOIN annotation_judgment AS judgment ON judgment.id = better.judgment_id
WHERE judgment.project_id = %(project)s AND judgment.slot_id IS NOT NULL
  AND {is_current()}
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
Wins = list[tuple[int, int, int]]
"""(better, worse, how often)."""


@dataclass(frozen=True)
class PolicyRating:
    """An author's Bradley-Terry rating in Elo points (400 for a factor of ten in the odds, mean 1000), with a 95% interval
    and the number of its comparisons with other authors."""

    author: Author
    points: float
    low: float
    high: float
    comparisons: int


def rate_policies(project: Project) -> list[PolicyRating]:
    """The authors whose answers were compared with another's, best first. Two queries."""
    rows = _rate_authors(project, NO_FILTERS)
    authors = Author.objects.in_bulk([row[0] for row in rows])
    return [PolicyRating(authors[author], points, low, high, n) for author, points, low, high, n in rows]


@figure
def _rate_authors(project: Project, _filters: Filters) -> list[tuple[int, float, float, float, int]]:
    """Author id, points, low, high, comparisons. Intervals are a bootstrap over blocks of items."""
    with connection.cursor() as cursor:
        cursor.execute(PREFERENCES, {"project": project.pk})
        preferences: list[tuple[int, int, int, int]] = cursor.fetchall()
    index = {author: n for n, author in enumerate(sorted({a for _, *both, _ in preferences for a in both}))}
    if len(index) < 2:
        return []
    blocks: dict[int, Wins] = defaultdict(list)
    comparisons: dict[int, int] = defaultdict(int)
    for block, better, worse, times in preferences:
        blocks[block].append((index[better], index[worse], times))
        comparisons[better] += times
        comparisons[worse] += times
    wins = list(blocks.values())
    points = _elo_points(wins, len(index))
    rng = random.Random(0)  # noqa: S311 - a draw to be repeated, not a secret
    resampled = [_elo_points(rng.choices(wins, k=len(wins)), len(index)) for _ in range(RESAMPLES)]
    rows = []
    for author, place in index.items():
        spread = sorted(sample[place] for sample in resampled)
        low, high = spread[int(0.025 * RESAMPLES)], spread[int(0.975 * RESAMPLES) - 1]
        rows.append((author, points[place], low, high, comparisons[author]))
    return sorted(rows, key=lambda row: -row[1])


def _elo_points(blocks: Iterable[Wins], count: int) -> list[float]:
    """blocks: the wins of each, of authors as indices below `count`."""
    wins = [[0.0] * count for _ in range(count)]
    for block in blocks:
        for better, worse, times in block:
            wins[better][worse] += times
    return [1000 + 400 * strength / math.log(10) for strength in bradley_terry(wins, rounds=100)]
