"""Progress page: the queue, judgments over time, members; updated live."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation import analytics
from annotation.access import Role, member_for
from annotation.analytics import time_steps
from annotation.analytics.agreement import tallies
from annotation.analytics.filters import Filters, filter_choices
from annotation.models import Project
from annotation.views import HtmxRequest, charts
from annotation.views.deferred import is_deferred


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
        if is_deferred(request, project):
            return render(request, "annotation/progress.html", page | {"deferred": True})
    page |= _figures(project, filters)
    page["members"] = analytics.member_activity(project, request.GET.get("people"))
    return render(
        request, "annotation/progress.html#figures" if request.htmx else "annotation/progress.html", page
    )


def _figures(project: Project, filters: Filters) -> dict[str, Any]:
    span = time_steps.judgment_span(project, filters)
    step, counts = analytics.judgment_rate(project, filters, span)
    points = span.step(time_steps.MAX_AGREEMENT_STEPS) if span else step
    by_time = tallies(project, filters, "at", step=points)["at"]
    return {
        "step": step,
        "judged": sum(n for _, n in counts),
        "work": charts.judgments_over_time(project, counts, step),
        "agreement": charts.agreement_over_time(project, by_time, points),
        "degrees": charts.degree_bars(project, analytics.degrees(project, filters)),
        "skips": charts.skip_bars(project, analytics.skips_by_reason(project, filters)),
    }
