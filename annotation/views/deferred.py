"""Deferred statistics: in a large project a page is sent without them and loads them by htmx."""

from __future__ import annotations

from annotation.models import Project
from annotation.queries import count_rows
from annotation.views import HtmxRequest

LARGE = 10_000
"""Number of judgments from which statistics are deferred."""


def is_deferred(request: HtmxRequest, project: Project) -> bool:
    """Whether to send the page without its statistics. Requests for the statistics themselves (htmx, or a link with `now`
    where no scripts run) are never deferred. At most one query."""
    if request.htmx or "now" in request.GET:
        return False
    return count_rows(project).slots_done > LARGE
