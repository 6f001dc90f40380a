"""The first page after signing in: what there is to do, how my day went, and what I lead."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation import queries
from annotation.access import current_user, may_create_projects
from annotation.logic.svg_chart import Point, column_chart, count_axis_high
from annotation.models import User


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
    hours = [
        Point(count, f"{hour}:00: {count:,} judgment{'' if count == 1 else 's'}", f"{hour}:00")
        if count
        else f"{hour}:00"
        for hour, count in enumerate(day.by_hour)
    ]
    chart = column_chart(hours, low=0, high=count_axis_high(day.by_hour), bars=True)
    return {"day": day, "chart": chart}
