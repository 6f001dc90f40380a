"""Pages with figures that take long to count in a large project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from annotation.analytics.figures import NotCounted, counted_by_worker
from annotation.models import Project
from annotation.views import HtmxRequest


def render_with_figures(
    request: HtmxRequest,
    project: Project,
    template: str,
    page: Mapping[str, Any],
    figures: Callable[[], Mapping[str, Any]],
    *,
    part: str = "figures",
    status: int = 200,
) -> HttpResponse:
    """The page with its figures. Of a large project, the page comes without them, and htmx loads `part`, the part of the
    template that shows them, again and again while a worker counts. `now` in the query (where no scripts run): with them."""
    with counted_by_worker(project) as reading:
        if reading.is_large and not request.htmx and "now" not in request.GET:
            return render(request, template, {**page, "deferred": True}, status=status)
        try:
            page = {**page, **figures()}
            if reading.oldest:
                page["counted_at"] = datetime.fromtimestamp(reading.oldest, UTC)
        except NotCounted:
            waiting = {"deferred": True, "is_counting": True}
            return render(
                request,
                "annotation/deferred.html" if request.htmx else template,
                {**page, **waiting},
                status=status,
            )
    return render(request, f"{template}#{part}" if request.htmx else template, page, status=status)
