"""Figures of a large project take seconds to count: its pages come at once, and ask for them then."""

from __future__ import annotations

from annotation.models import Project, Slot
from annotation.views import HtmxRequest

LARGE = 10_000
"""Judgments, from which on a page does not wait for its figures."""


def comes_later(request: HtmxRequest, project: Project) -> bool:
    """Whether the page is to be shown without its figures: it asks for them by htmx, or, where no scripts run, by a link
    with `now`. One query, unless the request is such a one."""
    if request.htmx or "now" in request.GET:
        return False
    return Slot.objects.filter(project=project, state=Slot.State.DONE)[LARGE : LARGE + 1].exists()
