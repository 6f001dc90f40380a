"""The first page after signing in: what there is to do, how my day went, and what I lead."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation import queries
from annotation.access import current_user, may_create_projects
from annotation.models import User

CHART_HEIGHT = 48


@dataclass(frozen=True)
class Bar:
    """One hour of the day's chart, in the units of its drawing."""

    hour: int
    count: int
    x: int
    y: float
    height: float


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    mine = queries.assignments_of(user)
    context = {
        "work": sorted((one for one in mine if not one.leads), key=lambda one: one.left == 0),
        "led": [one for one in mine if one.leads],
        "may_create": may_create_projects(user),
    }
    return render(request, "annotation/home.html", context | my_day(user))


def my_day(user: User) -> dict[str, object]:
    """What the card "My day" shows."""
    day = queries.day_of(user)
    most = max(day.by_hour) or 1
    bars = []
    for hour, count in enumerate(day.by_hour):
        height = max(2.0, CHART_HEIGHT * count / most)
        bars.append(Bar(hour, count, 12 * hour, CHART_HEIGHT - height, height))
    return {"day": day, "bars": bars}
