"""My work: one's own items, edits, skips and active time by day and project; a calendar; one's questions; the timesheet."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from annotation import threads, timesheets
from annotation.access import Role, current_user, project_for
from annotation.logic import periods
from annotation.logic.active_time import IDLE_AFTER_S, IDLE_AFTER_WRITING_S
from annotation.logic.periods import Period, PeriodError
from annotation.models import Project
from annotation.timesheets import Line, Work

SHADES = 4
"""Of the calendar's days, besides that of days without items."""


@login_required
@never_cache
@require_GET
def my_work(request: HttpRequest) -> HttpResponse:
    me, zone, today = current_user(request), timezone.get_current_timezone(), timezone.localdate()
    error: PeriodError | None = None
    try:
        period = periods.read(request.GET, today)
    except PeriodError as refused:
        error, period = refused, periods.named("this-week", today)
    lines = timesheets.lines_of_user(me, period.first, period.last, zone)
    projects = _project_names(lines)
    context = {
        "error": error,
        "period": period,
        "periods": {name: _(label) for name, label in periods.NAMES.items()},
        "total": timesheets.total(lines),
        "days": _by_day(lines, projects),
        "projects": _by_project(lines, projects),
        **_calendar(timesheets.calendar(me, today, zone)),
        "threads": threads.threads_of_user(me),
        "idle_minutes": IDLE_AFTER_S // 60,
        "idle_writing_minutes": IDLE_AFTER_WRITING_S // 60,
    }
    return render(request, "annotation/my_work.html", context, status=422 if error else 200)


@login_required
@never_cache
@require_GET
def my_timesheet(request: HttpRequest) -> HttpResponse:
    """One's own timesheet as CSV, in one's own zone."""
    me, zone = current_user(request), timezone.get_current_timezone()
    try:
        period = periods.read(request.GET, timezone.localdate())
    except PeriodError as error:
        return _refused(error)
    lines = timesheets.lines_of_user(me, period.first, period.last, zone)
    return _download(timesheets.write_csv(lines, zone, _project_names(lines), {}), "timesheet", period)


@login_required
@never_cache
@require_GET
def project_timesheet(request: HttpRequest, slug: str) -> HttpResponse:
    """The timesheet of a project's members as CSV, for its leads, in the lead's own zone."""
    project = project_for(request.user, slug, Role.LEAD)
    zone = timezone.get_current_timezone()
    try:
        period = periods.read(request.GET, timezone.localdate())
    except PeriodError as error:
        return _refused(error)
    lines = timesheets.lines_of_project(project, period.first, period.last, zone)
    text = timesheets.write_csv(lines, zone, {project.pk: project.name}, timesheets.user_names(lines))
    return _download(text, f"timesheet-{slug}", period)


def _refused(error: PeriodError) -> HttpResponse:
    return HttpResponse(f"{error.field}: {error}", status=422, content_type="text/plain; charset=utf-8")


def _download(text: str, name: str, period: Period) -> HttpResponse:
    # with a byte order mark, so that Excel reads it as UTF-8
    response = HttpResponse("\ufeff" + text, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-{period.first}-{period.last}.csv"'
    return response


def _project_names(lines: list[Line]) -> dict[int, str]:
    return dict(Project.objects.filter(pk__in={line.project_id for line in lines}).values_list("pk", "name"))


def _by_day(lines: list[Line], projects: dict[int, str]) -> list[dict[str, Any]]:
    """Newest day first: the day, its total, and its projects where there are several."""
    days: dict[date, list[Line]] = defaultdict(list)
    for line in lines:
        days[line.day].append(line)
    return [
        {
            "day": day,
            "work": timesheets.total(of_day),
            "projects": [(projects[line.project_id], line.work) for line in of_day],
        }
        for day, of_day in sorted(days.items(), reverse=True)
    ]


def _by_project(lines: list[Line], projects: dict[int, str]) -> list[tuple[str, Work]]:
    of_project: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        of_project[line.project_id].append(line)
    return sorted(
        ((projects[pk], timesheets.total(some)) for pk, some in of_project.items()), key=lambda row: row[0]
    )


def _calendar(weeks: list[list[tuple[date, int | None]]]) -> dict[str, Any]:
    """`weeks`, and `weekdays` with a cell for each week: its day, count and shade, from 0 (no items) to `SHADES` (as many as on
    the busiest day)."""
    most = max((count or 0 for week in weeks for _day, count in week), default=0) or 1
    cells = [
        [{"day": day, "count": count, "shade": -(-SHADES * (count or 0) // most)} for day, count in week]
        for week in weeks
    ]
    weekdays = [{"name": date_format(row[0]["day"], "D"), "cells": row} for row in zip(*cells, strict=True)]
    return {"weeks": cells, "weekdays": weekdays}
