"""Statistics of the progress page: queue, members, judgments over time, degrees, skips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from django.contrib.humanize.templatetags.humanize import intcomma
from django.core.paginator import Page, Paginator
from django.db import connection
from django.db.models import Aggregate, Count, Exists, FloatField, Max, OuterRef
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.analytics.figures import NotCounted, figure
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.analytics.outlook import Outlook, outlook
from annotation.analytics.time_steps import STEPS_BY_NAME, WEEK, TimeSpan, TimeStep, wall_clock
from annotation.models import Item, Judgment, Member, Project, Response, Skip, Snapshot
from annotation.models.judgments import is_current
from annotation.queries import Progress, count_rows, midnight, progress

MEMBERS_PER_PAGE = 40
MANY = 10_000
"""Where counts stop that nobody needs to know exactly."""


class Median(Aggregate):
    """PostgreSQL's `percentile_cont(0.5)`."""

    function = "percentile_cont"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


def queue_status(
    project: Project, now: Progress | None = None, ahead: Outlook | None = None
) -> dict[str, Any]:
    """The queue as JSON for the progress page: counts, who is working now, and what is to be expected, in words. `now` and
    `ahead` are the project's, if they are known."""
    now = now or progress(project)
    ahead = ahead or outlook(project, now)
    return {
        "total": now.total,
        "done": now.done,
        "left": now.left,
        "leased": now.leased,
        "last_hour": now.last_hour,
        "percent": now.percent,
        "eta": ahead.time_text,
        "outlook": ahead.sentence if now.total else "",
        "needs_people": ahead.needs_people,
        "working": [{"name": worker.name, "recent": worker.recent} for worker in ahead.workers],
    }


@dataclass(frozen=True)
class MemberActivity:
    """A member's judgments in a project: how many in total (None while a worker counts) and since the reader's midnight, the
    last one, and the median time."""

    total: int | None = 0
    today: int = 0
    last: datetime | None = None
    median: float | None = None  # seconds a judgment


def busiest_today(project: Project, *, name: str = "") -> list[tuple[Member, int]]:
    """The members whose user name contains `name`, with how many items they judged since the reader's midnight, most first."""
    judgments = Judgment.objects.originals().filter(project=project, created_at__gte=midnight()).order_by()
    today = dict(judgments.values_list("annotator").annotate(n=Count("id")))
    members = project.members.select_related("user")
    if name:
        members = members.filter(user__username__icontains=name)
    rows = [(member, today.get(member.user_id, 0)) for member in members]
    return sorted(rows, key=lambda row: (-row[1], row[0].user.username))


def member_activity(project: Project, page: str | None = None, *, name: str = "") -> Page:
    """A page of (member, activity), in the order of `busiest_today`. The members and their counts of today are current; the other
    figures may be some minutes old (`figure`)."""
    members: Page = Paginator(busiest_today(project, name=name), MEMBERS_PER_PAGE).get_page(page)
    rows = list(members)
    activity = activity_of(project, [member.user_id for member, _ in rows])
    members.object_list = [(member, replace(activity(member.user_id), today=today)) for member, today in rows]
    return members


def activity_of(project: Project, people: Iterable[int]) -> Callable[[int], MemberActivity]:
    """A function that returns the activity of one of these people, without the counts of today."""
    try:
        activity, default = _activity(project, NO_FILTERS, *sorted(people)), MemberActivity()
    except NotCounted:
        activity, default = {}, MemberActivity(total=None)
    return lambda person: activity.get(person, default)


@figure
def _activity(project: Project, _filters: Filters, *people: int) -> dict[int, MemberActivity]:
    """By annotator id, without the counts of today."""
    counts = (
        Judgment.objects.originals()
        .filter(project=project, annotator__in=people)
        .order_by()
        .values("annotator")
        .annotate(total=Count("id"), last=Max("created_at"), median=Median("seconds"))
    )
    return {row.pop("annotator"): MemberActivity(**row) for row in cast("Any", counts)}


JUDGMENT_RATE = f"""
SELECT date_bin(%(step)s, {wall_clock("judgment.created_at")}, %(origin)s), count(*)
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE judgment.project_id = %(project)s AND judgment.supersedes_id IS NULL {{where}}
GROUP BY 1
"""


def judgment_rate(
    project: Project, filters: Filters, span: TimeSpan | None
) -> tuple[TimeStep, list[tuple[datetime, int]]]:
    """Judgments over time: the time step that suits the span, and the count for each step, zeros included."""
    if span is None:
        return WEEK, []
    step = span.step()
    counts = _rate(project, filters, step.name)
    return step, [(at, counts.get(at, 0)) for at in span.starts(step)]


@figure
def _rate(project: Project, filters: Filters, step: str) -> dict[datetime, int]:
    where, values = filters.where_annotator()
    values |= STEPS_BY_NAME[step].values | {"project": project.pk}
    with connection.cursor() as cursor:
        cursor.execute(JUDGMENT_RATE.format(where=where), values)
        return dict(cursor.fetchall())


DEGREES = f"""
SELECT judgment.degree, count(*)
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE judgment.project_id = %(project)s AND judgment.slot_id IS NOT NULL AND judgment.degree IS NOT NULL
  AND {is_current()} {{where}}
GROUP BY 1
"""

LEVELS = f"""
SELECT k - levels, count(*) FROM (
    SELECT count(*) AS k, bit_count(bit_or(1 << placement.rank)::bit(32)) AS levels
    FROM annotation_judgment AS judgment
    JOIN annotation_item AS item ON item.id = judgment.item_id
    JOIN annotation_placement AS placement ON placement.judgment_id = judgment.id
    WHERE judgment.project_id = %(project)s AND judgment.slot_id IS NOT NULL
      AND {is_current()} {{where}}
    GROUP BY judgment.id) AS placed
WHERE k > 2 GROUP BY 1 ORDER BY 1
"""


def degrees(project: Project, filters: Filters) -> list[tuple[str, str, int]]:
    """Distribution of degrees (two answers) or of the number of ties (more): `(value, label, count)`."""
    counts = _degrees(project, filters)
    if not counts:
        return []
    if project.k == 2:
        return [(degree.value, str(degree.label), counts.get(degree.value, 0)) for degree in Judgment.Degree]
    return [("", _ties(tied), n) for tied, n in sorted(counts.items())]


def _ties(n: int) -> str:
    return ngettext("%(n)s tie", "%(n)s ties", n) % {"n": n} if n else _("No ties")


@figure
def _degrees(project: Project, filters: Filters) -> dict[Any, int]:
    where, values = filters.where_annotator()
    with connection.cursor() as cursor:
        query = DEGREES if project.k == 2 else LEVELS
        cursor.execute(query.format(where=where), values | {"project": project.pk})
        return dict(cursor.fetchall())


@figure
def judgments_by_version(project: Project, _filters: Filters) -> dict[int, int]:
    """The number of current judgments by the id of the guideline version under which they were made."""
    judgments = Judgment.objects.current().filter(project=project).order_by()
    return dict(judgments.values_list("guideline").annotate(n=Count("id")))


@figure
def unqueued_prompt_count(project: Project, _filters: Filters) -> int:
    """The number of prompts that have no item in the queue yet."""
    return project.prompts.filter(~Exists(Item.objects.filter(prompt=OuterRef("pk")))).count()


@figure
def unanswered_prompt_count(project: Project, _filters: Filters) -> int:
    """The number of prompts that have no answers yet."""
    return project.prompts.filter(~Exists(Response.objects.filter(prompt=OuterRef("pk")))).count()


def skips_by_reason(project: Project, filters: Filters = NO_FILTERS) -> list[tuple[str, str, int]]:
    """Skips by reason, most frequent first: `(value, label, count)`."""
    return [(reason, str(Skip.Reason(reason).label), n) for reason, n in _skips(project, filters)]


@figure
def _skips(project: Project, filters: Filters) -> list[tuple[str, int]]:
    rows = Skip.objects.filter(item__project=project)
    if filters.since:
        rows = rows.filter(created_at__gte=filters.since)
    if filters.annotator:
        rows = rows.filter(annotator=filters.annotator)
    if filters.tag:
        rows = rows.filter(item__prompt__tags__contains=[filters.tag])
    return list(rows.values_list("reason").annotate(n=Count("id")).order_by("-n", "reason"))


def new_judgment_count(
    project: Project, snapshot: Snapshot | None, *, at_most: int = MANY, with_written: bool = True
) -> int:
    """How many counted judgments, or newer revisions of them, the snapshot does not have yet. It stops at `at_most`, so that a
    large project's pages take no longer. with_written: with those in which an answer was written."""
    counted = Judgment.objects.current().without_excluded()
    new = counted.filter(
        project=project, slot__isnull=False, pk__gt=snapshot.last_judgment if snapshot else 0
    )
    if not with_written:
        new = new.filter(demonstration=None)
    return new.order_by("pk")[:at_most].count()


def count_text(count: int) -> str:
    """ "1,234", or "10,000+" for a count that stopped at `MANY`."""
    return f"{intcomma(count)}{'+' if count == MANY else ''}"


def imported_count(project: Project, snapshot: Snapshot | None = None) -> int:
    """How many imported judgments the project has; with a snapshot, only those that it does not have. They are never removed,
    and an import takes long: their ids do not tell which of them were there."""
    known = snapshot.counts.get("imported", 0) if snapshot else 0
    return count_rows(project).imported_judgments - known
