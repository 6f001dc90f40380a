"""Ratings of policies by what annotators preferred, over all judgments of a project."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.core.cache import cache
from django.db import connection

from annotation.logic.consensus import bradley_terry
from annotation.models import Author, Judgment, Project
from annotation.models.judgments import is_current

RESAMPLES = 100
"""Bootstrap samples behind an interval."""
PREFERENCES = f"""
SELECT better.judgment_id, preferred.author_id, other.author_id
FROM annotation_placement AS better
JOIN annotation_placement AS worse ON worse.judgment_id = better.judgment_id AND better.rank < worse.rank
JOIN annotation_response AS preferred ON preferred.id = better.response_id
JOIN annotation_response AS other ON other.id = worse.response_id AND other.author_id <> preferred.author_id
JOIN annotation_judgment AS judgment ON judgment.id = better.judgment_id
JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE item.project_id = %(project)s AND judgment.slot_id IS NOT NULL
  AND {is_current()}
ORDER BY better.judgment_id
"""


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
    """The authors whose answers were compared with another's, best first. Cached until the next judgment."""
    newest = (
        Judgment.objects.filter(item__project=project).order_by("-pk").values_list("pk", flat=True).first()
    )
    key = f"leaderboard-{project.pk}-{project.created_at.timestamp()}-{newest}"
    rows: list[tuple[int, float, float, float, int]] | None = cache.get(key)
    if rows is None:
        rows = _rate_authors(project)
        cache.set(key, rows, timeout=3600)
    authors = Author.objects.in_bulk([row[0] for row in rows])
    return [PolicyRating(authors[author], points, low, high, n) for author, points, low, high, n in rows]


def _rate_authors(project: Project) -> list[tuple[int, float, float, float, int]]:
    """Author id, points, low, high, comparisons. Intervals are a bootstrap over judgments."""
    with connection.cursor() as cursor:
        cursor.execute(PREFERENCES, {"project": project.pk})
        preferences: list[tuple[int, int, int]] = cursor.fetchall()
    index = {author: n for n, author in enumerate(sorted({a for _, *both in preferences for a in both}))}
    if len(index) < 2:
        return []
    by_judgment: dict[int, list[tuple[int, int]]] = defaultdict(list)
    comparisons: dict[int, int] = defaultdict(int)
    for judgment, better, worse in preferences:
        by_judgment[judgment].append((index[better], index[worse]))
        comparisons[better] += 1
        comparisons[worse] += 1
    judgments = list(by_judgment.values())
    points = _elo_points(judgments, len(index))
    rng = random.Random(0)  # noqa: S311 - a draw to be repeated, not a secret
    resampled = [_elo_points(rng.choices(judgments, k=len(judgments)), len(index)) for _ in range(RESAMPLES)]
    rows = []
    for author, place in index.items():
        spread = sorted(sample[place] for sample in resampled)
        low, high = spread[int(0.025 * RESAMPLES)], spread[int(0.975 * RESAMPLES) - 1]
        rows.append((author, points[place], low, high, comparisons[author]))
    return sorted(rows, key=lambda row: -row[1])


def _elo_points(judgments: Iterable[Sequence[tuple[int, int]]], count: int) -> list[float]:
    """judgments: the (better, worse) pairs of each, as indices below `count`."""
    wins = [[0.0] * count for _ in range(count)]
    for pairs in judgments:
        for better, worse in pairs:
            wins[better][worse] += 1
    return [1000 + 400 * strength / math.log(10) for strength in bradley_terry(wins, rounds=100)]
