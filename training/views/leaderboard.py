"""The leaderboard: policies by what annotators preferred, and win rates of each two of them by people and reward models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation.access import Role, member_for
from annotation.analytics.figures import counted_or_none
from annotation.analytics.filter_choices import filter_choices
from annotation.analytics.filters import Filters
from annotation.logic.agreement import Interval
from annotation.models import Author
from training.comparisons.leaderboard import PairRate, PolicyRating, rate_pairs, rate_policies
from training.models import ModelVersion

MOST = 12
"""Policies in the table of pairs, the best ones first."""


@dataclass(frozen=True)
class Cell:
    """The win rates of a row's policy over a column's: each with the judge's name, empty for people."""

    column: Author
    rates: list[tuple[str, Interval]]
    models: tuple[int, int] | None = None


@login_required
@require_GET
def leaderboard(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    project, filters = me.project, Filters.read(request.GET, me.project)
    ratings = counted_or_none(project, lambda: rate_policies(project, filters))
    pairs = counted_or_none(project, lambda: rate_pairs(project, filters))
    models = {
        version.author_id: version
        for version in ModelVersion.objects.filter(project=project, author__isnull=False).select_related(
            "author"
        )
    }
    context: dict[str, Any] = {
        "me": me,
        "project": project,
        "filters": filters,
        "choices": filter_choices(project),
        "is_counting": ratings is None or pairs is None,
        "ratings": [(rating, models.get(rating.author.pk)) for rating in ratings or []],
        "scale": _scale(ratings or []),
        "table": _table(ratings or [], pairs or {}, models),
        "most": MOST,
        "is_cut": len(ratings or []) > MOST,
    }
    return render(request, "training/leaderboard.html", context)


def _scale(ratings: list[PolicyRating]) -> dict[int, tuple[float, float, float]]:
    """Where each author's points and interval are on a line from the lowest to the highest bound, from 0 to 1."""
    low, high = min((one.low for one in ratings), default=0), max((one.high for one in ratings), default=1)
    span = high - low or 1
    return {
        one.author.pk: ((one.low - low) / span, (one.points - low) / span, (one.high - low) / span)
        for one in ratings
    }


def _table(
    ratings: list[PolicyRating],
    pairs: dict[tuple[int, int], list[PairRate]],
    models: dict[int | None, ModelVersion],
) -> list[tuple[Author, list[Cell]]]:
    """A row for each policy, with a cell for each other one. Those that only reward models compared follow the rated ones."""
    rated = [rating.author for rating in ratings]
    others = {author for pair in pairs for author in pair} - {author.pk for author in rated}
    scored = [version.author for pk, version in models.items() if pk in others and version.author]
    shown = [*rated, *scored][:MOST]
    return [(row, [_cell(row, column, pairs, models) for column in shown]) for row in shown]


def _cell(
    row: Author,
    column: Author,
    pairs: dict[tuple[int, int], list[PairRate]],
    models: dict[int | None, ModelVersion],
) -> Cell:
    found = pairs.get((min(row.pk, column.pk), max(row.pk, column.pk)), [])
    rates = [(pair.judge, pair.of(row.pk)) for pair in found]
    both = (models.get(column.pk), models.get(row.pk))
    return Cell(
        column,
        [
            (judge, Interval(rate["mean"], rate["low"], rate["high"], rate["prompts"]))
            for judge, rate in rates
        ],
        (both[0].pk, both[1].pk) if both[0] and both[1] and found else None,
    )
