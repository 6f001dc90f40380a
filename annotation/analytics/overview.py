"""What a lead sees of the work: how it goes, who does it, and what has come since the last snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from django.db import connection
from django.db.models import Aggregate, Count, FloatField, Max, Q

from annotation.analytics.cache import kept
from annotation.analytics.filters import EVERYTHING, Filters
from annotation.analytics.time_steps import WEEK, Span, Step
from annotation.logic.durations import duration
from annotation.models import Judgment, Member, Project, Response, Skip, Snapshot
from annotation.queries import Progress, midnight, progress, working_now


class Median(Aggregate):
    """PostgreSQL's `percentile_cont(0.5)`."""

    function = "percentile_cont"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


def live_state(project: Project, now: Progress | None = None) -> dict[str, Any]:
    """The queue as its page shows it, as JSON: counts, the time left in words, and who is working now."""
    now = now or progress(project)
    return {
        "wanted": now.wanted,
        "done": now.done,
        "left": now.left,
        "leased": now.leased,
        "last_hour": now.last_hour,
        "percent": now.percent,
        "eta": duration(now.eta.total_seconds()) if now.eta else "",
        "working": [
            {"name": name, "recent": recent}
            for name, recent in cast("Any", working_now(project)).values_list("user__username", "recent")
        ],
    }


@dataclass(frozen=True)
class Work:
    """What somebody judged in a project: items, ever and since midnight (UTC); when last; and in what time."""

    total: int = 0
    today: int = 0
    last: datetime | None = None
    median: float | None = None  # seconds a judgment


def members_today(project: Project) -> list[tuple[Member, Work]]:
    """Everybody in the project and what they did, the busiest of today first. Who belongs to it is never old; how much they
    judged may be (`kept`)."""
    work = kept(project, EVERYTHING, "members", midnight().isoformat(), count=lambda: _work(project))
    members = [
        (member, work.get(member.user_id, Work())) for member in project.members.select_related("user")
    ]
    return sorted(members, key=lambda one: (-one[1].today, -one[1].total, one[0].user.username))


def _work(project: Project) -> dict[int, Work]:
    """By person."""
    said = Judgment.objects.filter(item__project=project, supersedes=None).order_by().values("annotator")
    counted = said.annotate(
        total=Count("id"),
        today=Count("id", filter=Q(created_at__gte=midnight())),
        last=Max("created_at"),
        median=Median("seconds"),
    )
    return {row.pop("annotator"): Work(**row) for row in cast("Any", counted)}


RATE = """
SELECT date_bin(%(step)s, judgment.created_at, %(origin)s), count(*)
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE item.project_id = %(project)s AND judgment.supersedes_id IS NULL {where}
GROUP BY 1
"""


def rate(project: Project, filters: Filters, span: Span | None) -> tuple[Step, list[tuple[datetime, int]]]:
    """How many judgments there were by time (UTC): the step that suits the span, and each of its starts with a count,
    those without any included."""
    if span is None:
        return WEEK, []
    step = span.step()
    where, values = filters.where_theirs()
    with connection.cursor() as cursor:
        cursor.execute(RATE.format(where=where), values | step.values | {"project": project.pk})
        counts = dict(cursor.fetchall())
    return step, [(at, counts.get(at, 0)) for at in span.starts(step)]


DEGREES = """
SELECT judgment.degree, count(*)
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE item.project_id = %(project)s AND judgment.slot_id IS NOT NULL AND judgment.degree IS NOT NULL
  AND NOT EXISTS (SELECT FROM annotation_judgment AS later WHERE later.supersedes_id = judgment.id) {where}
GROUP BY 1
"""

LEVELS = """
SELECT placed.k - placed.levels, count(*)
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id
CROSS JOIN LATERAL (
    SELECT count(*) AS k, count(DISTINCT rank) AS levels
    FROM annotation_placement AS placement WHERE placement.judgment_id = judgment.id) AS placed
WHERE item.project_id = %(project)s AND judgment.slot_id IS NOT NULL AND placed.k > 2
  AND NOT EXISTS (SELECT FROM annotation_judgment AS later WHERE later.supersedes_id = judgment.id) {where}
GROUP BY 1 ORDER BY 1
"""


def degrees(project: Project, filters: Filters) -> list[tuple[str, str, int]]:
    """How people choose: of two answers by how much, of more how many of them they tie; `(value, in words, count)`."""
    counts = kept(project, filters, "degrees", count=lambda: _degrees(project, filters))
    if not counts:
        return []
    if project.k == 2:
        return [(degree.value, degree.label, counts.get(degree.value, 0)) for degree in Judgment.Degree]
    words = {0: "No ties", 1: "One tie"}
    return [("", words.get(tied, f"{tied} ties"), n) for tied, n in sorted(counts.items())]


def _degrees(project: Project, filters: Filters) -> dict[Any, int]:
    where, values = filters.where_theirs()
    with connection.cursor() as cursor:
        query = DEGREES if project.k == 2 else LEVELS
        cursor.execute(query.format(where=where), values | {"project": project.pk})
        return dict(cursor.fetchall())


def skips_by_reason(project: Project, filters: Filters = EVERYTHING) -> list[tuple[str, str, int]]:
    """Why people skipped items, the commonest first: `(value, in words, count)`."""
    rows = Skip.objects.filter(item__project=project)
    if filters.since:
        rows = rows.filter(created_at__gte=filters.since)
    if filters.annotator:
        rows = rows.filter(annotator=filters.annotator)
    if filters.tag:
        rows = rows.filter(item__prompt__tags__contains=[filters.tag])
    counted = rows.values_list("reason").annotate(n=Count("id")).order_by("-n", "reason")
    return [(reason, Skip.Reason(reason).label, n) for reason, n in counted]


def judgments_after(project: Project, snapshot: Snapshot | None) -> int:
    """How many counted judgments, or newer revisions of them, the snapshot does not hold yet."""
    return (
        Judgment.objects.current()
        .filter(item__project=project, slot__isnull=False, pk__gt=snapshot.last_judgment if snapshot else 0)
        .count()
    )


def answers(project: Project) -> int:
    return Response.objects.filter(prompt__project=project).count()
