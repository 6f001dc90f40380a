"""How far people agree, and how each of them works."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation import oversight
from annotation.access import Role, member_for
from annotation.logic import agreement
from annotation.logic.agreement import Interval, Tally
from annotation.models import Guideline, Project
from annotation.oversight import filters as lens
from annotation.oversight import people, times
from annotation.oversight.agreement import Alphas, alphas, tallies
from annotation.oversight.filters import Filters
from annotation.views import figures


@dataclass(frozen=True)
class Row:
    """One line of a table of agreement: a tag, or a version of the guidelines."""

    name: str
    href: str
    share: Interval
    tau: float | None
    alpha: Interval | None = None


@login_required
@require_GET
def quality(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    project = me.project
    filters = Filters.read(request.GET, project)
    span = times.span(project, filters)
    step = span.step(times.MOST_POINTS) if span else times.WEEK
    met = tallies(project, filters, "all", "at", "version", "tag", step=step)
    found = alphas(project, filters, step=step)
    standings = people.standings(project, filters)
    whole = met["all"].get("", Tally())
    context = {
        "me": me,
        "project": project,
        "filters": filters,
        "choices": lens.choices(project),
        "share": whole.share,
        "tau": whole.mean_tau,
        "tau_words": agreement.in_words(whole.mean_tau),
        "alphas": found,
        "alpha_words": agreement.in_words(found.ordinal.value if found.ordinal else None),
        "gold": people.total_gold(one.gold for one in standings),
        "over_time": figures.agreement_over_time(project, met["at"], step),
        "versions": _by_version(project, met["version"], found),
        "tags": _by_tag(project, met["tag"]),
        "degrees": figures.degree_bars(project, oversight.degrees(project, filters)),
        "standings": standings,
    }
    return render(request, "annotation/quality.html", context)


def _by_version(project: Project, tallies: dict[str, Tally], found: Alphas) -> list[Row]:
    numbers = dict(Guideline.objects.filter(project=project).values_list("pk", "number"))
    rows = [
        (numbers[int(pk)], Row("", "", share, tally.mean_tau, found.by_version.get(pk)))
        for pk, tally in tallies.items()
        if (share := tally.share) is not None
    ]
    return [
        Row(f"Version {number}", figures.items_url(project, version=number), row.share, row.tau, row.alpha)
        for number, row in sorted(rows, key=lambda pair: pair[0])
    ]


def _by_tag(project: Project, tallies: dict[str, Tally]) -> list[Row]:
    """The tags on which people differ most, first."""
    rows = [
        Row(tag, figures.items_url(project, tag=tag), share, tally.mean_tau)
        for tag, tally in tallies.items()
        if (share := tally.share) is not None
    ]
    return sorted(rows, key=lambda row: row.share.value)[:20]
