"""Timesheets: what users did by day and project, with their active time, in a time zone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from statistics import median
from typing import Any

from django.db import connection
from django.utils import timezone

from annotation.logic.active_time import IDLE_AFTER_WRITING_S, active_seconds, interval
from annotation.logic.csv_text import write_rows
from annotation.logic.device_times import MAX_LATE_S
from annotation.logic.time_zones import DAY, day_start
from annotation.models import Project, User

CALENDAR_WEEKS = 12

# by when it was submitted; what a page could only send later has a later `created_at`
SUBMITTED_AT = "COALESCE({act}.submitted_at, {act}.created_at)"
IN_PERIOD = f"""
    {{act}}.created_at >= %(since)s AND {{act}}.created_at < %(until)s::timestamptz + make_interval(secs => {MAX_LATE_S})
    AND {SUBMITTED_AT} >= %(since)s AND {SUBMITTED_AT} < %(until)s
"""
# Every judgment, revision and skip of a period. Revisions have no time of their own: `seconds` is that of the first judgment.
ACTS = f"""
SELECT CASE WHEN judgment.supersedes_id IS NULL THEN 'item' ELSE 'edit' END, judgment.annotator_id, item.project_id,
    {SUBMITTED_AT.format(act="judgment")}, judgment.seconds, judgment.demonstration_id IS NOT NULL
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE {IN_PERIOD.format(act="judgment")} AND {{judgments}}
UNION ALL
SELECT 'skip', skip.annotator_id, item.project_id, {SUBMITTED_AT.format(act="skip")}, skip.seconds, false
FROM annotation_skip AS skip JOIN annotation_item AS item ON item.id = skip.item_id
WHERE {IN_PERIOD.format(act="skip")} AND {{skips}}
ORDER BY 4
"""
OF_USER = {"judgments": "judgment.annotator_id = %(user)s", "skips": "skip.annotator_id = %(user)s"}
OF_PROJECT = {"judgments": "item.project_id = %(project)s", "skips": "item.project_id = %(project)s"}


def today(zone: tzinfo) -> date:
    """The current day in a zone."""
    return timezone.now().astimezone(zone).date()


@dataclass(frozen=True)
class Act:
    """A judgment (`item`), a revision (`edit`) or a skip. `seconds` is None where it is unknown."""

    kind: str
    user_id: int
    project_id: int
    at: datetime
    seconds: float | None
    writes: bool


@dataclass
class Work:
    """Counts of one day, one project, or a period. Gold items count as every other."""

    items: int = 0
    edits: int = 0
    skips: int = 0
    active_seconds: float = 0.0
    first: datetime | None = None
    last: datetime | None = None
    seconds: list[float] = field(default_factory=list)

    def add(self, act: Act) -> None:
        self.items += act.kind == "item"
        self.edits += act.kind == "edit"
        self.skips += act.kind == "skip"
        self.first = min(self.first or act.at, act.at)
        self.last = max(self.last or act.at, act.at)
        if act.kind == "item" and act.seconds is not None:
            self.seconds.append(act.seconds)

    @property
    def median_seconds(self) -> float | None:
        """For a judged item, from opening to submitting it."""
        return median(self.seconds) if self.seconds else None

    @property
    def active_minutes(self) -> float:
        return round(self.active_seconds / 60, 1)


@dataclass(frozen=True)
class Line:
    """One user's work of one day in one project."""

    day: date
    user_id: int
    project_id: int
    work: Work


def acts_of(user: User, since: datetime, until: datetime) -> list[Act]:
    """Somebody's acts from `since` up to but not including `until`, oldest first. One query."""
    return _acts(ACTS.format(**OF_USER), {"user": user.pk, "since": since, "until": until})


def _acts(query: str, values: dict[str, Any]) -> list[Act]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return [Act(*row) for row in cursor.fetchall()]


def lines_of_user(user: User, first: date, last: date, zone: tzinfo) -> list[Line]:
    """A user's days in all projects, from `first` to `last` in the zone."""
    return _lines(ACTS.format(**OF_USER), {"user": user.pk}, first, last, zone)


def lines_of_project(project: Project, first: date, last: date, zone: tzinfo) -> list[Line]:
    """The days of everybody who worked in a project."""
    return _lines(ACTS.format(**OF_PROJECT), {"project": project.pk}, first, last, zone)


def _lines(query: str, of: dict[str, Any], first: date, last: date, zone: tzinfo) -> list[Line]:
    since, until = day_start(first, zone), day_start(last + DAY, zone)
    # an item that is submitted after the period may have been worked on within it
    acts = _acts(query, of | {"since": since, "until": until + timedelta(seconds=IDLE_AFTER_WRITING_S)})
    lines: dict[tuple[date, int, int], Work] = defaultdict(Work)
    for act in acts:
        if act.at < until:
            lines[act.at.astimezone(zone).date(), act.user_id, act.project_id].add(act)
    by_user: dict[int, list[Act]] = defaultdict(list)
    for act in acts:
        if act.kind != "edit" and act.seconds is not None:
            by_user[act.user_id].append(act)
    for user_id, timed in by_user.items():
        intervals = [interval(a.at, a.seconds or 0.0, a.project_id, writes=a.writes) for a in timed]
        for (day, project_id), seconds in active_seconds(intervals, zone).items():
            if first <= day <= last:
                lines[day, user_id, project_id].active_seconds += seconds
    return [Line(day, user, project, work) for (day, user, project), work in sorted(lines.items())]


def total(lines: Iterable[Line]) -> Work:
    """The sum of some lines."""
    whole = Work()
    for line in lines:
        work = line.work
        whole.items += work.items
        whole.edits += work.edits
        whole.skips += work.skips
        whole.active_seconds += work.active_seconds
        whole.seconds += work.seconds
        whole.first = min(filter(None, (whole.first, work.first)), default=None)
        whole.last = max(filter(None, (whole.last, work.last)), default=None)
    return whole


ITEMS_BY_DAY = f"""
SELECT timezone(%(zone)s, {SUBMITTED_AT.format(act="judgment")})::date, count(*) FROM annotation_judgment AS judgment
WHERE annotator_id = %(user)s AND supersedes_id IS NULL AND created_at >= %(since)s
GROUP BY 1
"""


def calendar(user: User, today: date, zone: tzinfo) -> list[list[tuple[date, int | None]]]:
    """Judged items by day of the last `CALENDAR_WEEKS` weeks, a list for each week from Monday to Sunday; None for days that are
    still to come. One query."""
    monday = today - timedelta(days=today.weekday(), weeks=CALENDAR_WEEKS - 1)
    values: dict[str, Any] = {"user": user.pk, "zone": str(zone), "since": day_start(monday, zone)}
    with connection.cursor() as cursor:
        cursor.execute(ITEMS_BY_DAY, values)
        counts = dict(cursor.fetchall())
    days = [monday + timedelta(days=n) for n in range(7 * CALENDAR_WEEKS)]
    cells = [(day, counts.get(day, 0) if day <= today else None) for day in days]
    return [cells[n : n + 7] for n in range(0, len(cells), 7)]


def user_names(lines: Iterable[Line]) -> dict[int, str]:
    """The names of the users of some lines. One query."""
    return dict(User.objects.filter(pk__in={line.user_id for line in lines}).values_list("pk", "username"))


# --- CSV ------------------------------------------------------------------------------------------------------

COLUMNS = ("date", "project", "items", "edits", "skips", "active_minutes", "first", "last", "time_zone")


def write_csv(lines: Iterable[Line], zone: tzinfo, projects: dict[int, str], users: dict[int, str]) -> str:
    """The lines as CSV, with a column `user` where `users` has names. Times are ISO 8601 in the zone."""
    rows: list[tuple[Any, ...]] = [(*COLUMNS[:1], *(("user",) if users else ()), *COLUMNS[1:])]
    for line in lines:
        work = line.work
        times = (
            at.astimezone(zone).isoformat(timespec="seconds") if at else "" for at in (work.first, work.last)
        )
        rows.append(
            (
                line.day.isoformat(),
                *((users[line.user_id],) if users else ()),
                projects[line.project_id],
                *(work.items, work.edits, work.skips, work.active_minutes),
                *(*times, str(zone)),
            )
        )
    return write_rows(rows)
