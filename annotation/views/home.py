"""Home page: items to judge, today's work, and projects one leads."""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_GET

from annotation import queries, timesheets
from annotation.access import current_user, may_create_projects
from annotation.logic.svg_chart import Point, column_chart, count_axis_high
from annotation.logic.time_zones import DAY, HOUR, day_start, hours_of_day
from annotation.logic.translation import format_number
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
    """Context of the card "My day": today's work in the current zone, and a chart of its hours. One query."""
    zone, today = timezone.get_current_timezone(), timezone.localdate()
    starts, midnight = hours_of_day(today, zone), day_start(today, zone)
    day, by_hour = timesheets.Work(), [0] * len(starts)
    for act in timesheets.acts_of(user, midnight, day_start(today + DAY, zone)):
        day.add(act)
        by_hour[(act.at - midnight) // HOUR] += act.kind == "item"
    hours = [
        Point(count, _title(at, count), _label(at), name=f"{at:%-H:%M}") if count else _label(at)
        for at, count in zip(starts, by_hour, strict=True)
    ]
    chart = column_chart(
        hours,
        low=0,
        high=count_axis_high(by_hour),
        bars=True,
        x_name=gettext("hour"),
        y_name=gettext("items"),
    )
    return {"day": day, "chart": chart}


def _title(at: datetime, count: int) -> str:
    values = {"time": f"{at:%-H:%M}", "n": format_number(count)}
    return ngettext("%(time)s: %(n)s item", "%(time)s: %(n)s items", count) % values


def _label(at: datetime) -> str:
    return "" if at.hour % 6 or at.minute else f"{at.hour}:00"
