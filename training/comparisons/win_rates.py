"""How often a policy's answers are preferred to a baseline's: in all, by tag, by split, and by how long its answers are."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.db import connection
from django.utils.translation import gettext_noop

from annotation.analytics.figures import figure
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.models import Project
from training.comparisons.pairs import JUDGED, SHARE, Pair
from training.models import Comparison
from training.runs.comparisons import mean_win_rate

JsonObject = dict[str, Any]
LENGTHS = (
    (0.0, 0.8, gettext_noop("Shorter by more than a fifth")),
    (0.8, 1.25, gettext_noop("About as long")),
    (1.25, float("inf"), gettext_noop("Longer by more than a quarter")),
)
"""From and below: the length of the policy's answers as a multiple of the baseline's. 4:5 one way is 5:4 the other way."""
BY_PEOPLE = f"""
SELECT judged.share, prompt.tags, prompt.split, judged.longer
FROM (SELECT mine.prompt_id, {SHARE} AS share, avg(length(mine.text)) / greatest(avg(length(other.text)), 1) AS longer {JUDGED}
      GROUP BY mine.prompt_id) AS judged
JOIN annotation_prompt AS prompt ON prompt.id = judged.prompt_id
"""
BY_REWARD = """
SELECT scored.win_rate, prompt.tags, prompt.split, scored.policy_length / greatest(scored.baseline_length, 1)
FROM training_comparedprompt AS scored JOIN annotation_prompt AS prompt ON prompt.id = scored.prompt_id
WHERE scored.comparison_id = %(comparison)s
"""


def people_win_rates(pair: Pair) -> JsonObject:
    """Win rates by what people chose: see `_summary`."""
    authors = pair.authors
    return _by_people(pair.project, NO_FILTERS, authors["policy"], authors["baseline"])


def reward_win_rates(pair: Pair, comparison: Comparison) -> JsonObject:
    """Win rates by a reward model: see `_summary`."""
    return _by_reward(pair.project, NO_FILTERS, comparison.pk, pair.sign_of(comparison))


@figure
def _by_people(_project: Project, _filters: Filters, policy: int, baseline: int) -> JsonObject:
    with connection.cursor() as cursor:
        cursor.execute(BY_PEOPLE, {"policy": policy, "baseline": baseline})
        return _summary(cursor.fetchall())


@figure
def _by_reward(_project: Project, _filters: Filters, comparison: int, sign: int) -> JsonObject:
    with connection.cursor() as cursor:
        cursor.execute(BY_REWARD, {"comparison": comparison})
        rows = cursor.fetchall()
    if sign < 0:
        rows = [(1 - rate, tags, split, 1 / longer if longer else 1) for rate, tags, split, longer in rows]
    return _summary(rows)


def _summary(rows: list[tuple[float, list[str], str, float]]) -> JsonObject:
    """`{all, held_out, tags, lengths}`: the mean win rate over prompts as `mean_win_rate` returns it, the number of held-out
    prompts, and the same by tag and by length, each with its `label`."""
    tags: dict[str, list[float]] = defaultdict(list)
    lengths: dict[str, list[float]] = defaultdict(list)
    for rate, prompt_tags, _split, longer in rows:
        for tag in prompt_tags:
            tags[tag].append(rate)
        lengths[next(label for low, high, label in LENGTHS if low <= longer < high)].append(rate)
    return {
        "all": mean_win_rate([row[0] for row in rows]),
        "held_out": sum(split == "held_out" for _rate, _tags, split, _longer in rows),
        "tags": [{"label": tag} | mean_win_rate(tags[tag]) for tag in sorted(tags)],
        "lengths": [
            {"label": label} | mean_win_rate(lengths[label]) for *_ratio, label in LENGTHS if label in lengths
        ],
    }
