"""Reading: what pages, exports and trainings need to know of the queue and of what people said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from annotation.db import prepared_statements
from annotation.db.prepared_statements import Columns
from annotation.models import (
    Delivery,
    Item,
    Judgment,
    Member,
    Project,
    Prompt,
    Response,
    Slot,
    User,
    Webhook,
)

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
    counts = project.slots.filter(gold=False).aggregate(
        wanted=Count("id"),
        done=Count("id", filter=Q(state=Slot.State.DONE)),
        leased=Count("id", filter=Q(state=Slot.State.LEASED, leased_until__gte=timezone.now())),
    )
    since = timezone.now() - timedelta(hours=1)
    judgments = Judgment.objects.originals().filter(item__project=project, slot__gold=False)
    last_hour = judgments.filter(created_at__gte=since).count()
    return Progress(**counts, last_hour=last_hour)


def midnight() -> datetime:
    """When today began (UTC)."""
    return timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True)
class Day:
    """What someone did since midnight (UTC)."""

    judgments: int
    median_seconds: float | None
    by_hour: list[int]


def day_of(user: User) -> Day:
    mine = list(
        Judgment.objects.filter(annotator=user, created_at__gte=midnight()).values_list(
            "created_at", "seconds"
        )
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


MANY_LEFT = 100
# What one person can still judge in one project. It looks in the order of the claim, so that the claim's index serves it
# too, and stops after some slots: past them it is enough to know that there are many.
LEFT = """
CROSS JOIN LATERAL (
    SELECT count(DISTINCT slots.item_id) AS items, count(*) = %(many)s IS TRUE AS many FROM (
        SELECT slot.item_id FROM annotation_slot AS slot
        WHERE slot.project_id = member.project_id AND slot.state <> 'done' AND NOT slot.gold
          AND slot.restricted <= (member.role <> 'annotator')
          AND (slot.state = 'open' OR slot.leased_until < now() OR slot.annotator_id = member.user_id)
          AND NOT EXISTS (SELECT FROM annotation_judgment AS judgment
                          WHERE judgment.item_id = slot.item_id AND judgment.annotator_id = member.user_id)
          AND NOT EXISTS (SELECT FROM annotation_skip AS skip
                          WHERE skip.item_id = slot.item_id AND skip.annotator_id = member.user_id)
          AND NOT (member.writes AND EXISTS (
              SELECT FROM annotation_candidate AS candidate
              JOIN annotation_response AS response ON response.id = candidate.response_id
              JOIN annotation_author AS author ON author.id = response.author_id
              WHERE candidate.item_id = slot.item_id AND author.user_id = member.user_id))
        ORDER BY slot.restricted DESC, slot.priority DESC, slot.random_key, slot.id
        LIMIT %(many)s) AS slots) AS remaining
"""
# a membership, and whether the person wrote answers in the project, which are not for them to order
MEMBER = """
SELECT project_id, user_id, role, EXISTS (
    SELECT FROM annotation_author AS author
    WHERE author.user_id = member.user_id AND author.project_id = member.project_id) AS writes
FROM annotation_member AS member
"""


@dataclass(frozen=True)
class Assignment:
    """A project of someone's, with how many items are left in it for them, and how far it is. `many_left`: there are
    more than `left`; `started`: an item waits for them in the middle of it; `paused`: they are given nothing for now."""

    project: Project
    role: str
    paused: bool
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
FROM ({MEMBER} WHERE user_id = %(me)s) AS member
{LEFT}
CROSS JOIN LATERAL (
    SELECT count(*) AS slots, count(*) FILTER (WHERE state = 'done') AS done
    FROM annotation_slot WHERE project_id = member.project_id AND NOT gold) AS wanted
"""


def assignments_of(user: User) -> list[Assignment]:
    """The projects that someone is a member of, by name, in two queries however many there are."""
    with connection.cursor() as cursor:
        cursor.execute(ASSIGNMENTS, {"me": user.pk, "many": 10 * MANY_LEFT})
        counts = {project_id: rest for project_id, *rest in cursor.fetchall()}
    return [
        Assignment(member.project, member.role, member.paused_at is not None, *counts[member.project_id])
        for member in Member.objects.filter(user=user).select_related("project").order_by("project__name")
        if member.project_id in counts
    ]


@dataclass(frozen=True)
class WorkStatus:
    """What an annotator's page shows beside the item. `many_left`: there are more than `left`."""

    left: int
    many_left: bool
    today: int
    guideline_number: int | None
    draft: Any


WORK_STATUS = f"""
SELECT remaining.items, remaining.many,
    (SELECT count(*) FROM annotation_judgment
     WHERE annotator_id = %(me)s AND supersedes_id IS NULL AND created_at >= %(midnight)s),
    (SELECT max(number) FROM annotation_guideline WHERE project_id = %(project)s),
    (SELECT data FROM annotation_draft WHERE item_id = %(item)s AND annotator_id = %(me)s)
FROM ({MEMBER} WHERE user_id = %(me)s AND project_id = %(project)s) AS member
{LEFT}
"""


def work_status(project: Project, user: User, item: Item) -> WorkStatus:
    values = {"project": project.pk, "me": user.pk, "item": item.pk, "midnight": midnight()}
    # said as a constant: with a limit that it does not know, PostgreSQL would plan the statement anew each time
    found = prepared_statements.rows(WORK_STATUS.replace("%(many)s", str(MANY_LEFT)), values)
    left, many_left, today, guideline_number, draft = found[0]
    return WorkStatus(left, many_left, today, guideline_number, json.loads(draft) if draft else None)


_ITEM = Columns(Item, "item", "id", "project_id", "prompt_id")
_PROMPT = Columns(Prompt, "prompt", "id", "project_id", "messages", "html")
_RESPONSE = Columns(Response, "response", "id", "prompt_id", "text", "html")
ITEM = f"""
SELECT {_ITEM}, {_PROMPT}, {_RESPONSE}
FROM annotation_item AS item
JOIN annotation_prompt AS prompt ON prompt.id = item.prompt_id
LEFT JOIN annotation_candidate AS candidate ON candidate.item_id = item.id
LEFT JOIN annotation_response AS response ON response.id = candidate.response_id
WHERE item.id = %(item)s
"""


def item_to_judge(item_id: int, annotator: User) -> Item:
    """An item with all that its page shows: its prompt and its responses.

    Raises:
        Item.DoesNotExist
    """
    found = prepared_statements.rows(ITEM, {"item": item_id})
    if not found:
        raise Item.DoesNotExist(f"There is no item {item_id}.")
    item_end, prompt_end = len(_ITEM), len(_ITEM) + len(_PROMPT)
    item = _ITEM.build(found[0][:item_end])
    item.prompt = _PROMPT.build(found[0][item_end:prompt_end])
    responses = [_RESPONSE.build(row[prompt_end:]) for row in found if row[prompt_end] is not None]
    item._prefetched_objects_cache = {"responses": responses}  # type: ignore[attr-defined]
    return item


def split_counts(project: Project) -> dict[str, Any]:
    """How many prompts there are in each split."""
    return {row["split"]: row["n"] for row in project.prompts.values("split").annotate(n=Count("id"))}


# --- webhooks -------------------------------------------------------------------------------------------------


def webhooks_of(project: Project) -> list[tuple[Webhook, Delivery | None]]:
    """A project's webhooks, each with the last message to it."""
    newest = Delivery.objects.filter(webhook=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    webhooks = list(project.webhooks.annotate(newest=Subquery(newest)))
    last = Delivery.objects.defer("body").in_bulk([one.newest for one in webhooks if one.newest])
    return [(one, last.get(one.newest)) for one in webhooks]
