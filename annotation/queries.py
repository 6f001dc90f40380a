"""Reading: what pages, exports and trainings need to know of the queue and of what people said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from django.db import connection
from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from annotation.logic.formats import Row
from annotation.models import Item, Judgment, Member, Project, Slot, User

# --- progress -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """How far a project's queue is, in wanted judgments."""

    wanted: int
    done: int
    leased: int
    last_hour: int

    @property
    def left(self) -> int:
        return self.wanted - self.done

    @property
    def percent(self) -> int:
        return 100 * self.done // self.wanted if self.wanted else 0

    @property
    def eta(self) -> timedelta | None:
        """Time left at the pace of the last hour."""
        return timedelta(hours=self.left / self.last_hour) if self.left and self.last_hour else None


def progress(project: Project) -> Progress:
    counts = project.slots.aggregate(
        wanted=Count("id"),
        done=Count("id", filter=Q(state=Slot.State.DONE)),
        leased=Count("id", filter=Q(state=Slot.State.LEASED, leased_until__gte=timezone.now())),
    )
    last_hour = Judgment.objects.filter(
        item__project=project, created_at__gte=timezone.now() - timedelta(hours=1)
    ).count()
    return Progress(**counts, last_hour=last_hour)


def left_for(project: Project, user: User) -> int:
    """How many items this person can still judge."""
    return (
        project.slots.exclude(state=Slot.State.DONE)
        .filter(Q(state=Slot.State.OPEN) | Q(leased_until__lt=timezone.now()) | Q(annotator=user))
        .exclude(Q(item__judgments__annotator=user) | Q(item__skips__annotator=user))
        .values("item_id")
        .distinct()
        .count()
    )


@dataclass(frozen=True)
class Day:
    """What someone did since midnight (UTC)."""

    judgments: int
    median_seconds: float | None
    by_hour: list[int]


def day_of(user: User) -> Day:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    mine = list(
        Judgment.objects.filter(annotator=user, created_at__gte=midnight).values_list("created_at", "seconds")
    )
    by_hour = [0] * 24
    for at, _ in mine:
        by_hour[at.hour] += 1
    seconds = sorted(s for _, s in mine)
    return Day(len(mine), seconds[len(seconds) // 2] if seconds else None, by_hour)


def working_now(project: Project) -> QuerySet[Member]:
    """Members with when they last submitted in the last quarter of an hour, and how many they did."""
    since = timezone.now() - timedelta(minutes=15)
    recent = (
        Judgment.objects.filter(item__project=project, created_at__gte=since, annotator=OuterRef("user"))
        .values("annotator")
        .annotate(last=Max("created_at"), n=Count("id"))
    )
    return (
        project.members.select_related("user")
        .annotate(last=Subquery(recent.values("last")), recent=Subquery(recent.values("n")))
        .filter(last__isnull=False)
        .order_by("-last")
    )


MANY_LEFT = 1000
# What one person can still judge in one project. It looks in the order of the claim, so that the claim's index serves it
# too, and stops at the first thousand slots: past them it is enough to know that there are many.
LEFT = """
CROSS JOIN LATERAL (
    SELECT count(DISTINCT slots.item_id) AS items, count(*) = %(many)s AS many FROM (
        SELECT slot.item_id FROM annotation_slot AS slot
        WHERE slot.project_id = member.project_id AND slot.state <> 'done'
          AND (slot.state = 'open' OR slot.leased_until < now() OR slot.annotator_id = member.user_id)
          AND NOT EXISTS (SELECT FROM annotation_judgment AS judgment
                          WHERE judgment.item_id = slot.item_id AND judgment.annotator_id = member.user_id)
          AND NOT EXISTS (SELECT FROM annotation_skip AS skip
                          WHERE skip.item_id = slot.item_id AND skip.annotator_id = member.user_id)
        ORDER BY slot.priority DESC, slot.random_key, slot.id
        LIMIT %(many)s) AS slots) AS remaining
"""


@dataclass(frozen=True)
class Assignment:
    """A project of someone's, with how many items are left in it for them, and how far it is. `many_left`: there are
    more than `left`; `started`: an item waits for them in the middle of it."""

    project: Project
    role: str
    left: int
    many_left: bool
    wanted: int
    done: int
    started: bool

    @property
    def leads(self) -> bool:
        return self.role == Member.Role.LEAD

    @property
    def percent(self) -> int:
        return 100 * self.done // self.wanted if self.wanted else 0


ASSIGNMENTS = f"""
SELECT member.project_id, remaining.items, remaining.many, wanted.slots, wanted.done,
    EXISTS (SELECT FROM annotation_slot AS held
            WHERE held.project_id = member.project_id AND held.annotator_id = member.user_id AND held.state = 'leased')
FROM annotation_member AS member
{LEFT}
CROSS JOIN LATERAL (
    SELECT count(*) AS slots, count(*) FILTER (WHERE state = 'done') AS done
    FROM annotation_slot WHERE project_id = member.project_id) AS wanted
WHERE member.user_id = %(me)s
"""


def assignments_of(user: User) -> list[Assignment]:
    """The projects that someone is a member of, by name, in two queries however many there are."""
    with connection.cursor() as cursor:
        cursor.execute(ASSIGNMENTS, {"me": user.pk, "many": MANY_LEFT})
        counts = {project_id: rest for project_id, *rest in cursor.fetchall()}
    return [
        Assignment(member.project, member.role, *counts[member.project_id])
        for member in Member.objects.filter(user=user).select_related("project").order_by("project__name")
        if member.project_id in counts
    ]


@dataclass(frozen=True)
class Desk:
    """What an annotator's page shows beside the item. `many_left`: there are more than `left`."""

    left: int
    many_left: bool
    today: int
    guideline_number: int | None
    draft: Any


DESK = f"""
SELECT remaining.items, remaining.many,
    (SELECT count(*) FROM annotation_judgment
     WHERE annotator_id = %(me)s AND supersedes_id IS NULL AND created_at >= %(midnight)s),
    (SELECT max(number) FROM annotation_guideline WHERE project_id = %(project)s),
    (SELECT data FROM annotation_draft WHERE item_id = %(item)s AND annotator_id = %(me)s)
FROM (SELECT %(project)s AS project_id, %(me)s AS user_id) AS member
{LEFT}
"""


def desk(project: Project, user: User, item: Item) -> Desk:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    values = {"project": project.pk, "me": user.pk, "item": item.pk, "many": MANY_LEFT}
    with connection.cursor() as cursor:
        cursor.execute(DESK, values | {"midnight": midnight.isoformat()})
        left, many_left, today, guideline_number, draft = cursor.fetchone()
    return Desk(left, many_left, today, guideline_number, json.loads(draft) if draft else None)


def item_to_judge(item_id: int, annotator: User) -> Item:
    """An item with all that its page shows."""
    return Item.objects.select_related("project", "prompt").prefetch_related("responses").get(pk=item_id)


# --- pairs ----------------------------------------------------------------------------------------------------

PAIRS = """
SELECT better.judgment_id, better.response_id AS preferred, worse.response_id AS other
FROM annotation_placement AS better
JOIN annotation_placement AS worse ON worse.judgment_id = better.judgment_id AND better.rank < worse.rank
JOIN annotation_judgment AS judgment ON judgment.id = better.judgment_id
JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE item.project_id = %(project)s AND judgment.slot_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM annotation_judgment AS later WHERE later.supersedes_id = judgment.id)
"""


def pairs(project: Project) -> list[tuple[int, int, int]]:
    """Every (judgment, preferred response, other response) that the project's rankings imply, by a self-join of the
    placements: k choose 2 per ranking, none from a tie. `logic.ranking.pairs` is the same rule in Python."""
    with connection.cursor() as cursor:
        cursor.execute(PAIRS, {"project": project.pk})
        return cast("list[tuple[int, int, int]]", cursor.fetchall())


def count_pairs(project: Project) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({PAIRS}) AS pairs", {"project": project.pk})
        return int(cursor.fetchone()[0])


# --- whole judgments, for exports and trainings ---------------------------------------------------------------

ROWS = """
SELECT json_build_object(
    'judgment', judgment.id,
    'project', project.slug,
    'item', item.id,
    'prompt_id', prompt.external_id,
    'split', prompt.split,
    'tags', prompt.tags,
    'probability', item.probability,
    'messages', prompt.messages,
    'responses', placed.responses,
    'ranks', placed.ranks,
    'degree', judgment.degree,
    'shown_order', (SELECT json_agg(array_position(placed.ids, shown.id) - 1 ORDER BY shown.place)
                    FROM unnest(judgment.shown_order) WITH ORDINALITY AS shown (id, place)),
    'annotator', annotator.pseudonym,
    'guideline', guideline.number,
    'rationale', judgment.rationale,
    'seconds', round(judgment.seconds::numeric, 1),
    'counted', judgment.slot_id IS NOT NULL,
    'created_at', to_char(judgment.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text
FROM annotation_judgment AS judgment
JOIN annotation_item AS item ON item.id = judgment.item_id
JOIN annotation_project AS project ON project.id = item.project_id
JOIN annotation_prompt AS prompt ON prompt.id = item.prompt_id
JOIN annotation_user AS annotator ON annotator.id = judgment.annotator_id
LEFT JOIN annotation_guideline AS guideline ON guideline.id = judgment.guideline_id
CROSS JOIN LATERAL (
    SELECT array_agg(response.id ORDER BY response.id) AS ids,
           json_agg(placement.rank ORDER BY response.id) AS ranks,
           json_agg(json_build_object('id', response.id, 'author', author.name, 'text', response.text)
                    ORDER BY response.id) AS responses
    FROM annotation_placement AS placement
    JOIN annotation_response AS response ON response.id = placement.response_id
    JOIN annotation_author AS author ON author.id = response.author_id
    WHERE placement.judgment_id = judgment.id
) AS placed
WHERE item.project_id = %(project)s AND judgment.id > %(after)s AND judgment.id <= %(newest)s
  AND NOT EXISTS (SELECT FROM annotation_judgment AS later
                  WHERE later.supersedes_id = judgment.id AND later.id <= %(newest)s)
ORDER BY judgment.id
LIMIT %(limit)s
"""
BATCH_CHARS = 2**20


def judgment_rows(project: Project) -> Iterator[Row]:
    """Every judgment that no later revision replaced, oldest first, without what comes in after the start.

    Read in batches of about a megabyte, each by a query of its own: memory stays flat however many there are, and no
    connection or transaction waits for a slow reader.
    """
    newest = Judgment.objects.aggregate(newest=Max("id"))["newest"] or 0
    after, limit = 0, 50  # the first ones come soon
    while True:
        with connection.cursor() as cursor:
            cursor.execute(ROWS, {"project": project.pk, "after": after, "newest": newest, "limit": limit})
            texts: list[str] = [text for (text,) in cursor.fetchall()]
        if not texts:
            return
        for text in texts:
            row: Row = json.loads(text)
            after = row["judgment"]
            yield row
        limit = min(1000, max(10, len(texts) * BATCH_CHARS // sum(map(len, texts))))


def split_counts(project: Project) -> dict[str, Any]:
    """How many prompts there are in each split."""
    return {row["split"]: row["n"] for row in project.prompts.values("split").annotate(n=Count("id"))}
