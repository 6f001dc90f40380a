"""What a lead sees of the work: how it goes, who does it, and what has come since the last snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from django.db.models import Aggregate, Count, FloatField, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, TruncDay
from django.utils import timezone

from annotation.logic.words import duration
from annotation.models import Judgment, Member, Project, Response, Skip, Snapshot
from annotation.queries import Progress, progress, working_now


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


def midnight() -> datetime:
    """When today began (UTC)."""
    return timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)


def members_today(project: Project) -> QuerySet[Member]:
    """Everybody in the project with how many items they judged today and in all, and when they last did."""
    theirs = (
        Judgment.objects.filter(item__project=project, annotator=OuterRef("user"), supersedes=None)
        .order_by()
        .values("annotator")
        .annotate(
            total=Count("id"),
            today=Count("id", filter=Q(created_at__gte=midnight())),
            last=Max("created_at"),
            median=Median("seconds"),
        )
    )
    return (
        project.members.select_related("user")
        .annotate(
            total=Coalesce(Subquery(theirs.values("total")), 0),
            today=Coalesce(Subquery(theirs.values("today")), 0),
            last=Subquery(theirs.values("last")),
            median=Subquery(theirs.values("median")),
        )
        .order_by("-today", "-total", "user__username")
    )


@dataclass(frozen=True)
class Bar:
    """How many items were judged in one stretch of time; `percent` is of the tallest bar."""

    at: datetime
    judgments: int
    percent: int


def pace(project: Project, *, days: int = 14) -> list[Bar]:
    """Judgments of each of the last days (UTC), oldest first, days without any included."""
    first = midnight() - timedelta(days=days - 1)
    counts = {
        row["day"]: row["n"]
        for row in Judgment.objects.filter(item__project=project, created_at__gte=first, supersedes=None)
        .annotate(day=TruncDay("created_at"))
        .values("day")
        .annotate(n=Count("id"))
    }
    tallest = max(counts.values(), default=1)
    every_day = [first + timedelta(days=n) for n in range(days)]
    return [Bar(day, n := counts.get(day, 0), round(100 * n / tallest)) for day in every_day]


def skips_by_reason(project: Project) -> list[tuple[str, int]]:
    """Why people skipped items, in words, the commonest first."""
    rows = (
        Skip.objects.filter(item__project=project)
        .values_list("reason")
        .annotate(n=Count("id"))
        .order_by("-n", "reason")
    )
    return [(Skip.Reason(reason).label, n) for reason, n in rows]


def judgments_after(project: Project, snapshot: Snapshot | None) -> int:
    """How many counted judgments, or newer revisions of them, the snapshot does not hold yet."""
    return (
        Judgment.objects.current()
        .filter(item__project=project, slot__isnull=False, pk__gt=snapshot.last_judgment if snapshot else 0)
        .count()
    )


def answers(project: Project) -> int:
    return Response.objects.filter(prompt__project=project).count()
