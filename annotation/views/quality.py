"""Quality page: agreement between annotators, and statistics of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from annotation import analytics
from annotation.access import Role, member_for
from annotation.analytics import annotators, time_steps
from annotation.analytics.agreement import Alphas, alphas, tallies
from annotation.analytics.figures import gather
from annotation.analytics.filter_choices import filter_choices
from annotation.analytics.filters import Filters
from annotation.analytics.item_search import LEAST_AGREED
from annotation.analytics.rating_agreement import rating_agreement
from annotation.logic import agreement
from annotation.logic.agreement import Interval, Tally
from annotation.logic.svg_chart import Event
from annotation.models import Guideline, Project
from annotation.views import HtmxRequest, charts, people_quality
from annotation.views.deferred import render_with_figures

PEOPLE = 40
"""Annotators on a page."""


@dataclass(frozen=True)
class AgreementRow:
    """One row of an agreement table: a tag, or a guideline version."""

    name: str
    href: str
    share: Interval
    tau: float | None
    alpha: Interval | None = None


@login_required
@require_GET
def quality(request: HtmxRequest, slug: str) -> HttpResponse:
    """The page; for htmx only its statistics, where they were deferred."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    project = me.project
    filters = Filters.read(request.GET, project)
    page = {"me": me, "project": project, "filters": filters}
    if not request.htmx:
        page |= {"choices": filter_choices(project)}
    figures = partial(_figures, project, filters, request.GET.get("page"))
    return render_with_figures(request, project, "annotation/quality.html", page, figures)


def _figures(project: Project, filters: Filters, number: str | None) -> dict[str, Any]:
    span = time_steps.judgment_span(project, filters)
    step = span.step(time_steps.MAX_AGREEMENT_STEPS) if span else time_steps.WEEK
    by, alpha, stats, ratings, degrees = gather(
        lambda: tallies(project, filters, "all", "at", "version", "tag", step=step),
        lambda: alphas(project, filters, step=step),
        lambda: annotators.annotator_stats(project, filters),
        lambda: rating_agreement(project, filters),
        lambda: analytics.degrees(project, filters),
    )
    overall = by["all"].get("", Tally())
    page = Paginator(stats, PEOPLE).get_page(number)
    people = [people_quality.person_of(project, row, filters) for row in page]
    guidelines = list(Guideline.objects.filter(project=project).defer("text", "html").order_by("number"))
    return {
        "share": overall.share,
        "tau": overall.mean_tau,
        "tau_words": agreement.in_words(overall.mean_tau),
        "alphas": alpha,
        "ratings": ratings,
        "alpha_words": agreement.in_words(alpha.ordinal.value if alpha.ordinal else None),
        "gold": annotators.total_gold_score(row.gold for row in stats),
        "step": step,
        "over_time": charts.agreement_over_time(
            project, by["at"], step, _version_events(project, guidelines, by["version"])
        ),
        "versions": _by_version(project, guidelines, by["version"], alpha),
        "tags": _by_tag(project, by["tag"]),
        "least_agreed": charts.items_url(
            project,
            sort=LEAST_AGREED,
            tag=filters.tag,
            version=filters.version,
            annotator=filters.annotator.username if filters.annotator else "",
        ),
        "degrees": charts.degree_bars(project, degrees),
        "annotator_stats": page,
        "people": people,
        "checks": people_quality.checks_of(project, stats, filters),
        "agreement_chart": people_quality.agreement_chart(people, overall.share),
        "gold_chart": people_quality.gold_chart(people, project.qualification_accuracy),
    }


def _by_version(
    project: Project, guidelines: list[Guideline], tallies: dict[str, Tally], alpha: Alphas
) -> list[AgreementRow]:
    rows = []
    for guideline in guidelines:
        pk = str(guideline.pk)
        if pk in tallies and (share := tallies[pk].share) is not None:
            href = charts.items_url(project, version=guideline.number, sort=LEAST_AGREED)
            version_alpha = alpha.by_version.get(pk)
            rows.append(
                AgreementRow(
                    _("Version %(number)s") % {"number": guideline.number},
                    href,
                    share,
                    tallies[pk].mean_tau,
                    version_alpha,
                )
            )
    return rows


def _version_events(
    project: Project, guidelines: list[Guideline], tallies: dict[str, Tally]
) -> list[tuple[datetime, Event]]:
    """The time of each guideline version after the first, with the agreement under it and under the previous one."""
    shares = {version.pk: tallies.get(str(version.pk), Tally()).share for version in guidelines}
    events = []
    for before, new in pairwise(guidelines):
        values: dict[str, object] = {
            "n": new.number,
            "date": date_format(timezone.localtime(new.created_at), "j F Y, H:i T"),
        }
        description = _("Guidelines version %(n)s, %(date)s") % values
        here, there = shares[new.pk], shares[before.pk]
        if here and there:
            values |= {"share": here.percent, "share_before": there.percent, "before": before.number}
            description = (
                _(
                    "Guidelines version %(n)s, %(date)s: %(share)s%% agreement on pairs, %(share_before)s%% under version"
                    " %(before)s"
                )
                % values
            )
        href = reverse("guideline-diff", args=[project.slug, before.number, new.number])
        events.append((time_steps.on_wall_clock(new.created_at), Event(f"v{new.number}", description, href)))
    return events


def _by_tag(project: Project, tallies: dict[str, Tally]) -> list[AgreementRow]:
    """Agreement by tag, lowest first."""
    rows = [
        AgreementRow(tag, charts.items_url(project, tag=tag, sort=LEAST_AGREED), share, tally.mean_tau)
        for tag, tally in tallies.items()
        if (share := tally.share) is not None
    ]
    return sorted(rows, key=lambda row: row.share.value)[:20]
