"""Progress page: the queue, judgments over time, members; updated live."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.views.decorators.http import require_GET

from annotation import analytics
from annotation.access import Role, member_for
from annotation.analytics import time_steps
from annotation.analytics.agreement import tallies
from annotation.analytics.figures import gather
from annotation.analytics.filter_choices import filter_choices
from annotation.analytics.filters import Filters
from annotation.models import Project
from annotation.views import HtmxRequest, charts
from annotation.views.deferred import render_with_figures


@login_required
@require_GET
def progress(request: HtmxRequest, slug: str) -> HttpResponse:
    """The page; for htmx only its statistics, which the page reloads after events."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    project = me.project
    filters = Filters.read(request.GET, project)
    page = {"me": me, "project": project, "filters": filters}
    if not request.htmx:
        page |= {"queue": analytics.queue_status(project), "choices": filter_choices(project)}
    figures = partial(_figures, project, filters, request.GET.get("people"))
    return render_with_figures(request, project, "annotation/progress.html", page, figures)


def _figures(project: Project, filters: Filters, people: str | None) -> dict[str, Any]:
    span = time_steps.judgment_span(project, filters)
    points = span.step(time_steps.MAX_AGREEMENT_STEPS) if span else time_steps.WEEK
    (step, counts), by, degrees, skips, members = gather(
        lambda: analytics.judgment_rate(project, filters, span),
        lambda: tallies(project, filters, "at", step=points),
        lambda: analytics.degrees(project, filters),
        lambda: analytics.skips_by_reason(project, filters),
        lambda: analytics.member_activity(project, people),
    )
    return {
        "step": step,
        "judged": sum(n for _, n in counts),
        "work": charts.judgments_over_time(project, counts, step),
        "agreement": charts.agreement_over_time(project, by["at"], points),
        "degrees": charts.degree_bars(project, degrees),
        "skips": charts.skip_bars(project, skips),
        "members": members,
    }
