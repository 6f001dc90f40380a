"""How far the queue is, how fast it goes, who is at it, and how the work looks; live."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation import analytics
from annotation.access import Role, member_for
from annotation.analytics import filters as lens
from annotation.analytics import time_steps
from annotation.analytics.agreement import tallies
from annotation.analytics.filters import Filters
from annotation.models import Project
from annotation.views import HtmxRequest, charts
from annotation.views.deferred import comes_later


@login_required
@require_GET
def progress(request: HtmxRequest, slug: str) -> HttpResponse:
    """The page; for htmx its figures alone, which it asks for when something happened."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    project = me.project
    filters = Filters.read(request.GET, project)
    page = {"me": me, "project": project, "filters": filters}
    if not request.htmx:
        page |= {"live": analytics.live_state(project), "choices": lens.choices(project)}
        if comes_later(request, project):
            return render(request, "annotation/progress.html", page | {"later": True})
    page |= _figures(project, filters)
    return render(
        request, "annotation/progress.html#figures" if request.htmx else "annotation/progress.html", page
    )


def _figures(project: Project, filters: Filters) -> dict[str, Any]:
    span = time_steps.span(project, filters)
    step, counts = analytics.rate(project, filters, span)
    points = span.step(time_steps.MOST_POINTS) if span else step
    met = tallies(project, filters, "at", step=points)["at"]
    return {
        "step": step,
        "judged": sum(n for _, n in counts),
        "work": charts.work_over_time(project, counts, step),
        "agreement": charts.agreement_over_time(project, met, points),
        "degrees": charts.degree_bars(project, analytics.degrees(project, filters)),
        "skips": charts.skip_bars(project, analytics.skips_by_reason(project, filters)),
        "members": analytics.members_today(project),
    }
