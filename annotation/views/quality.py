"""How far people agree, and how each of them works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.formats import date_format
from django.views.decorators.http import require_GET

from annotation import analytics
from annotation.access import Role, member_for
from annotation.analytics import annotators, time_steps
from annotation.analytics import filters as lens
from annotation.analytics.agreement import Alphas, alphas, tallies
from annotation.analytics.filters import Filters
from annotation.analytics.item_search import LEAST_AGREED
from annotation.logic import agreement
from annotation.logic.agreement import Interval, Tally
from annotation.logic.svg_chart import Event
from annotation.models import Guideline, Project
from annotation.views import HtmxRequest, charts
from annotation.views.deferred import comes_later


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
def quality(request: HtmxRequest, slug: str) -> HttpResponse:
    """The page; for htmx its figures alone, where the page came without them."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    project = me.project
    filters = Filters.read(request.GET, project)
    page = {"me": me, "project": project, "filters": filters}
    if not request.htmx:
        page |= {"choices": lens.choices(project)}
        if comes_later(request, project):
            return render(request, "annotation/quality.html", page | {"later": True})
    page |= _figures(project, filters)
    return render(
        request, "annotation/quality.html#figures" if request.htmx else "annotation/quality.html", page
    )


def _figures(project: Project, filters: Filters) -> dict[str, Any]:
    span = time_steps.span(project, filters)
    step = span.step(time_steps.MOST_POINTS) if span else time_steps.WEEK
    met = tallies(project, filters, "all", "at", "version", "tag", step=step)
    found = alphas(project, filters, step=step)
    standings = annotators.annotator_stats(project, filters)
    whole = met["all"].get("", Tally())
    guidelines = list(Guideline.objects.filter(project=project).defer("text", "html").order_by("number"))
    return {
        "share": whole.share,
        "tau": whole.mean_tau,
        "tau_words": agreement.in_words(whole.mean_tau),
        "alphas": found,
        "alpha_words": agreement.in_words(found.ordinal.value if found.ordinal else None),
        "gold": annotators.total_gold(one.gold for one in standings),
        "step": step,
        "over_time": charts.agreement_over_time(
            project, met["at"], step, _new_versions(project, guidelines, met["version"])
        ),
        "versions": _by_version(project, guidelines, met["version"], found),
        "tags": _by_tag(project, met["tag"]),
        "least_agreed": charts.items_url(
            project,
            sort=LEAST_AGREED,
            tag=filters.tag,
            version=filters.version,
            annotator=filters.annotator.username if filters.annotator else "",
        ),
        "degrees": charts.degree_bars(project, analytics.degrees(project, filters)),
        "standings": standings,
    }


def _by_version(
    project: Project, guidelines: list[Guideline], tallies: dict[str, Tally], found: Alphas
) -> list[Row]:
    rows = []
    for guideline in guidelines:
        pk = str(guideline.pk)
        if pk in tallies and (share := tallies[pk].share) is not None:
            href = charts.items_url(project, version=guideline.number, sort=LEAST_AGREED)
            alpha = found.by_version.get(pk)
            rows.append(Row(f"Version {guideline.number}", href, share, tallies[pk].mean_tau, alpha))
    return rows


def _new_versions(
    project: Project, guidelines: list[Guideline], tallies: dict[str, Tally]
) -> list[tuple[datetime, Event]]:
    """When each version but the first came, with how far people agree under it and under the one before."""
    shares = {one.pk: tallies.get(str(one.pk), Tally()).share for one in guidelines}
    found = []
    for before, new in pairwise(guidelines):
        says = f"v{new.number} of the guidelines, {date_format(new.created_at, 'j F Y, H:i')} UTC"
        here, there = shares[new.pk], shares[before.pk]
        if here and there:
            says += f": people agree on {here.percent}% of the pairs under it, {there.percent}% under version {before.number}"
        href = reverse("guideline-diff", args=[project.slug, before.number, new.number])
        found.append((new.created_at, Event(f"v{new.number}", says, href)))
    return found


def _by_tag(project: Project, tallies: dict[str, Tally]) -> list[Row]:
    """The tags on which people differ most, first."""
    rows = [
        Row(tag, charts.items_url(project, tag=tag, sort=LEAST_AGREED), share, tally.mean_tau)
        for tag, tally in tallies.items()
        if (share := tally.share) is not None
    ]
    return sorted(rows, key=lambda row: row.share.value)[:20]
