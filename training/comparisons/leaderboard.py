"""Ratings of policies by what annotators preferred, over all judgments of a project, and win rates of each two of them."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection

from annotation.analytics.figures import figure
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.logic.consensus import bradley_terry, bradley_terry_errors
from annotation.models import Author, Project
from annotation.models.judgments import is_current, is_excluded
from training.comparisons.pairs import SHARE
from training.runs.comparisons import mean_win_rate

JsonObject = dict[str, Any]
BLOCKS, RESAMPLES = 200, 100
"""Items are resampled in so many blocks, so often."""
ELO = 400 / math.log(10)
"""Elo points for a factor of e in the odds."""
BOTH_PLACED = f"""
FROM annotation_placement AS placed
JOIN annotation_placement AS beside ON beside.judgment_id = placed.judgment_id AND beside.id <> placed.id
JOIN annotation_response AS mine ON mine.id = placed.response_id
JOIN annotation_response AS other ON other.id = beside.response_id
JOIN annotation_judgment AS judgment ON judgment.id = placed.judgment_id
JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE judgment.project_id = %(project)s AND judgment.slot_id IS NOT NULL AND {is_current()} AND NOT {is_excluded()}
"""
# a tie stands in both directions, each time as half a win
PREFERENCES = f"""
SELECT judgment.item_id %% {BLOCKS}, mine.author_id, other.author_id,
       sum(CASE WHEN placed.rank < beside.rank THEN 1.0 ELSE 0.5 END)::float8
{BOTH_PLACED} AND placed.rank <= beside.rank AND mine.author_id <> other.author_id {{conditions}}
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
SHARES = f"""
SELECT author, beside, array_agg(share) FROM (
    SELECT mine.author_id AS author, other.author_id AS beside, mine.prompt_id, {SHARE} AS share
    {BOTH_PLACED} AND mine.author_id < other.author_id {{conditions}} GROUP BY 1, 2, 3) AS shares
GROUP BY 1, 2 ORDER BY 1, 2
"""
SCORED = """
SELECT DISTINCT ON (scorer.id, least(policy.author_id, baseline.author_id), greatest(policy.author_id, baseline.author_id))
       policy.author_id, baseline.author_id, scorer.name, comparison.id
FROM training_comparison AS comparison
JOIN training_run AS run ON run.id = comparison.run_id AND NOT run.superseded AND run.project_id = %(project)s
JOIN training_modelversion AS scorer ON scorer.id = comparison.scorer_id
JOIN training_modelversion AS policy ON policy.id = comparison.policy_id
JOIN training_modelversion AS baseline ON baseline.id = comparison.baseline_id
ORDER BY scorer.id, least(policy.author_id, baseline.author_id), greatest(policy.author_id, baseline.author_id), run.id DESC
"""
SCORED_SHARES = """
SELECT scored.comparison_id, array_agg(scored.win_rate) FROM training_comparedprompt AS scored
JOIN annotation_prompt AS prompt ON prompt.id = scored.prompt_id AND (%(tag)s = '' OR %(tag)s = ANY(prompt.tags))
WHERE scored.comparison_id = ANY(%(comparisons)s) GROUP BY 1
"""
Wins = list[tuple[int, int, float]]
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


@dataclass(frozen=True)
class PairRate:
    """How often the first of two authors is preferred to the second, by `judge`: a reward model's name, or empty for people.
    rate: as `mean_win_rate` returns it, over prompts."""

    first: int
    second: int
    judge: str
    rate: JsonObject

    def of(self, author: int) -> JsonObject:
        """The win rate of one of the two."""
        if author == self.first:
            return self.rate
        return self.rate | {
            "mean": 1 - self.rate["mean"],
            "low": 1 - self.rate["high"],
            "high": 1 - self.rate["low"],
        }


def rate_policies(project: Project, filters: Filters = NO_FILTERS) -> list[PolicyRating]:
    """The authors whose answers were compared with another's, best first. A tie is half a win for each. Two queries."""
    rows = _rate_authors(project, filters)
    authors = Author.objects.in_bulk([row[0] for row in rows])
    return [PolicyRating(authors[author], points, low, high, n) for author, points, low, high, n in rows]


def rate_pairs(project: Project, filters: Filters = NO_FILTERS) -> dict[tuple[int, int], list[PairRate]]:
    """What people and reward models prefer, by the ids of each two authors, the smaller first; of the filters, reward models
    know the tag alone."""
    pairs: dict[tuple[int, int], list[PairRate]] = defaultdict(list)
    for first, second, judge, rate in _rate_pairs(project, filters):
        pairs[min(first, second), max(first, second)].append(PairRate(first, second, judge, rate))
    return dict(pairs)


@figure
def _rate_pairs(project: Project, filters: Filters) -> list[tuple[int, int, str, JsonObject]]:
    conditions, values = filters.where_annotator()
    values["project"] = project.pk
    with connection.cursor() as cursor:
        cursor.execute(SHARES.format(conditions=conditions), values)
        found = [(first, second, "", mean_win_rate(shares)) for first, second, shares in cursor.fetchall()]
        cursor.execute(SCORED, {"project": project.pk})
        scored = cursor.fetchall()
        comparisons = [comparison for *_others, comparison in scored]
        cursor.execute(SCORED_SHARES, {"tag": filters.tag, "comparisons": comparisons})
        rates = {comparison: mean_win_rate(shares) for comparison, shares in cursor.fetchall()}
    newest_first = sorted(scored, key=lambda row: -row[-1])
    return found + [
        (policy, baseline, scorer, rates[comparison])
        for policy, baseline, scorer, comparison in newest_first
        if comparison in rates
    ]


@figure
def _rate_authors(project: Project, filters: Filters) -> list[tuple[int, float, float, float, int]]:
    """Author id, points, low, high, comparisons. Intervals are a bootstrap over blocks of items, and no narrower than the
    likelihood allows: where somebody won every comparison, so it does in every resample."""
    conditions, values = filters.where_annotator()
    with connection.cursor() as cursor:
        cursor.execute(PREFERENCES.format(conditions=conditions), values | {"project": project.pk})
        preferences: list[tuple[int, int, int, float]] = cursor.fetchall()
    index = {author: n for n, author in enumerate(sorted({a for _, *both, _ in preferences for a in both}))}
    if len(index) < 2:
        return []
    blocks: dict[int, Wins] = defaultdict(list)
    comparisons: dict[int, float] = defaultdict(float)
    for block, better, worse, times in preferences:
        blocks[block].append((index[better], index[worse], times))
        comparisons[better] += times
        comparisons[worse] += times
    wins = list(blocks.values())
    total = _total(wins, len(index))
    points = _elo_points(total)
    errors = [ELO * error for error in bradley_terry_errors(total, [point / ELO for point in points])]
    rng = random.Random(0)  # noqa: S311 - a draw to be repeated, not a secret
    resampled = [_elo_points(_total(rng.choices(wins, k=len(wins)), len(index))) for _ in range(RESAMPLES)]
    rows = []
    for author, place in index.items():
        spread = sorted(sample[place] for sample in resampled)
        low = min(spread[int(0.025 * RESAMPLES)], points[place] - 1.96 * errors[place])
        high = max(spread[int(0.975 * RESAMPLES) - 1], points[place] + 1.96 * errors[place])
        rows.append((author, points[place], low, high, round(comparisons[author])))
    return sorted(rows, key=lambda row: -row[1])


def _total(blocks: Iterable[Wins], count: int) -> list[list[float]]:
    """How often each of `count` authors was preferred to each other one, in all blocks."""
    wins = [[0.0] * count for _ in range(count)]
    for block in blocks:
        for better, worse, times in block:
            wins[better][worse] += times
    return wins


def _elo_points(wins: list[list[float]]) -> list[float]:
    return [1000 + ELO * strength for strength in bradley_terry(wins, rounds=100)]
