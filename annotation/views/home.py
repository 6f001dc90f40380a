"""Home page: items to judge, today's work, and projects one leads."""

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
    assignments = queries.assignments_of(user)
    context = {
        "work": sorted((each for each in assignments if not each.leads), key=lambda each: each.left == 0),
        "led": [each for each in assignments if each.leads],
        "may_create": may_create_projects(user),
    }
    return render(request, "annotation/home.html", context | my_day(user))


def my_day(user: User) -> dict[str, object]:
    """Context of the card "My day"."""
    day = queries.day_of(user)
    hours = [
        Point(count, f"{hour}:00: {count:,} judgment{'' if count == 1 else 's'}", _label(hour))
        if count
        else _label(hour)
        for hour, count in enumerate(day.by_hour)
    ]
    chart = column_chart(hours, low=0, high=count_axis_high(day.by_hour), bars=True)
    return {"day": day, "chart": chart}


def _label(hour: int) -> str:
    return "" if hour % 6 else f"{hour}:00"
