"""Reads that pages and trainings share: progress, assignments, an annotator's page, webhooks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation.db import prepared_statements
from annotation.db.prepared_statements import Columns
from annotation.eligibility import BATCHES_OF_OTHERS
from annotation.logic.questions import Question, stored_questions
from annotation.models import (
    Batch,
    Delivery,
    Item,
    Member,
    Project,
    Prompt,
    QuestionSet,
    Response,
    Slot,
    User,
    Webhook,
)

# --- questions ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def questions_of(question_set_id: int | None) -> tuple[Question, ...]:
    """The questions of a version. Versions never change, so each process reads one once."""
    if question_set_id is None:
        return ()
    return stored_questions(QuestionSet.objects.values_list("questions", flat=True).get(pk=question_set_id))


def all_questions(project: Project) -> list[Question]:
    """The questions of all versions of a project."""
    versions = project.question_sets.order_by("number").values_list("questions", flat=True)
    return [question for version in versions for question in stored_questions(version)]


# --- counts ---------------------------------------------------------------------------------------------------


class RowCounts(NamedTuple):
    """How many rows a project has. Slots: without those of gold items."""

    slots: int
    slots_done: int
    prompts: int
    prompts_held_out: int
    responses: int
    imported_judgments: int

    @property
    def prompts_to_train(self) -> int:
        return self.prompts - self.prompts_held_out


SUMS = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in RowCounts._fields)
COUNTS = f"SELECT {SUMS} FROM annotation_projectcount WHERE project_id = %(project)s"


def count_rows(project: Project) -> RowCounts:
    """A project's counts, in one query that takes the same time for every size."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, {"project": project.pk})
        return RowCounts(*cursor.fetchone())


# --- progress -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """How many of a project's judgments are done. `total` is the number of its slots; those of live chats are among them once
    they are done. `last` is the time of the last judgment."""

    leased: int
    last_hour: int
    last: datetime | None
    counts: RowCounts

    @property
    def total(self) -> int:
        return self.counts.slots

    @property
    def done(self) -> int:
        return self.counts.slots_done

    @property
    def left(self) -> int:
        return self.total - self.done

    @property
    def percent(self) -> int:
        return 100 * self.done // self.total if self.total else 0


PROGRESS = f"""
SELECT
    (SELECT count(*) FROM annotation_slot
     WHERE project_id = %(project)s AND NOT gold AND NOT chat AND state = 'leased' AND leased_until >= statement_timestamp()),
    (SELECT count(*) FROM annotation_judgment AS judgment JOIN annotation_slot AS slot ON slot.id = judgment.slot_id
     WHERE judgment.project_id = %(project)s AND judgment.supersedes_id IS NULL AND NOT slot.gold
       AND judgment.created_at >= statement_timestamp() - interval '1 hour'),
    (SELECT created_at FROM annotation_judgment WHERE project_id = %(project)s ORDER BY id DESC LIMIT 1),
    {SUMS}
FROM annotation_projectcount WHERE project_id = %(project)s
"""


def progress(project: Project) -> Progress:
    with connection.cursor() as cursor:
        cursor.execute(PROGRESS, {"project": project.pk})
        leased, last_hour, last, *counts = cursor.fetchone()
    return Progress(leased, last_hour, last, RowCounts(*counts))


def midnight() -> datetime:
    """The start of today in the current zone."""
    return timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)


MANY_LEFT = 100
ROUGHLY = (50, 20, 10)


def rough_count(count: int) -> str:
    """ "over 50", or "up to 10": a number that went down after some judgments alone would tell which items were gold."""
    least = next((least for least in ROUGHLY if count > least), None)
    return _("up to %(n)s") % {"n": ROUGHLY[-1]} if least is None else _("over %(n)s") % {"n": least}


# How many items a member can still judge. It reads slots in the order of the claim, so that the claim's index serves it
# too, and stops after %(many)s slots: beyond them it is enough to know that there are many.
ITEMS_LEFT = f"""
CROSS JOIN LATERAL (
    SELECT count(DISTINCT slots.item_id) AS items FROM (
        SELECT slot.item_id FROM annotation_slot AS slot
        WHERE slot.project_id = member.project_id AND slot.state <> 'done' AND NOT slot.gold AND NOT slot.chat
          AND slot.item_id <> ALL(%(shown)s)
          AND slot.restricted <= (member.role <> 'annotator')
          AND (slot.state = 'open' OR slot.leased_until < now() OR slot.annotator_id = member.user_id)
          AND (slot.batch_id IS NULL OR slot.annotator_id = member.user_id OR slot.batch_id <> ALL (ARRAY(
              {BATCHES_OF_OTHERS.format(project="member.project_id", user="member.user_id")})))
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
# a membership, and whether the member wrote answers in the project, which they must not rank
MEMBER = """
SELECT project_id, user_id, role, EXISTS (
    SELECT FROM annotation_author AS author
    WHERE author.user_id = member.user_id AND author.project_id = member.project_id) AS writes
FROM annotation_member AS member
"""


@dataclass(frozen=True)
class OpenBatch:
    """A batch of which a member has something left: its people's judgments so far, of those that it asks for."""

    pk: int
    name: str
    due_at: datetime
    total: int
    done: int

    @classmethod
    def of(cls, pk: int, name: str, due: float, total: int, done: int) -> OpenBatch:
        """From a row of `ASSIGNMENTS`; `due` in seconds since 1970."""
        return cls(pk, name, datetime.fromtimestamp(due, UTC), total, done)

    @property
    def is_overdue(self) -> bool:
        return self.due_at <= timezone.now()

    @property
    def rough_left(self) -> str:
        """Where gold items are given out, an exact count would tell which ones they are."""
        return rough_count(self.total - self.done)


@dataclass(frozen=True)
class Assignment:
    """A project that a user is a member of, how many items are left in it for them, and its progress.

    Attributes:
        paused: they get no items for now.
        total, done: the project's judgments.
        started: they hold a lease on an item.
        chats: the project asks for chats.
        last: when anybody judged in the project last.
        batches: those that were assigned to them, the one that is due first before the others.
    """

    project: Project
    role: str
    paused: bool
    left: int
    total: int
    done: int
    started: bool
    chats: bool
    last: datetime | None
    batches: list[OpenBatch]

    @property
    def leads(self) -> bool:
        return self.role == Member.Role.LEAD

    @property
    def percent(self) -> int:
        return 100 * self.done // self.total if self.total else 0

    @property
    def rough_percent(self) -> int:
        """For annotators, in steps of ten."""
        return self.percent // 10 * 10

    @property
    def rough_left(self) -> str:
        return rough_count(self.left)


ASSIGNMENTS = f"""
SELECT member.project_id, remaining.items, progress.total, progress.done,
    EXISTS (SELECT FROM annotation_slot AS slot
            WHERE slot.project_id = member.project_id AND slot.annotator_id = member.user_id AND slot.state = 'leased'
              AND NOT slot.chat),
    EXISTS (SELECT FROM annotation_chatsettings WHERE project_id = member.project_id AND enabled),
    (SELECT created_at FROM annotation_judgment WHERE project_id = member.project_id ORDER BY id DESC LIMIT 1),
    (SELECT json_agg(json_build_array(batch.id, batch.name, extract(epoch FROM batch.due_at), slots.total, slots.done)
                     ORDER BY batch.due_at)
     FROM annotation_batchmember AS person
     JOIN annotation_batch AS batch ON batch.id = person.batch_id
     CROSS JOIN LATERAL (SELECT count(*) AS total, count(*) FILTER (WHERE state = 'done') AS done
                         FROM annotation_slot WHERE batch_id = batch.id) AS slots
     WHERE person.user_id = member.user_id AND batch.project_id = member.project_id AND batch.closed_at IS NULL
       AND slots.done < slots.total)
FROM ({MEMBER} WHERE user_id = %(user)s) AS member
{ITEMS_LEFT}
CROSS JOIN LATERAL (
    SELECT coalesce(sum(slots), 0)::bigint AS total, coalesce(sum(slots_done), 0)::bigint AS done
    FROM annotation_projectcount WHERE project_id = member.project_id) AS progress
"""


def assignments_of(user: User) -> list[Assignment]:
    """The projects that a user is a member of, by name; always two queries."""
    with connection.cursor() as cursor:
        cursor.execute(ASSIGNMENTS, {"user": user.pk, "many": MANY_LEFT, "shown": []})
        counts = {
            project_id: (*rest, [OpenBatch.of(*row) for row in batches or ()])
            for project_id, *rest, batches in cursor.fetchall()
        }
    return [
        Assignment(
            member.project,
            member.role,
            member.paused_at is not None,
            *counts[member.project_id],
        )
        for member in Member.objects.filter(user=user).select_related("project").order_by("project__name")
        if member.project_id in counts
    ]


HAS_ITEMS = f"""
SELECT member.user_id
FROM ({MEMBER} WHERE project_id = %(project)s AND user_id = ANY(%(users)s)) AS member
{ITEMS_LEFT}
WHERE remaining.items > 0
"""


def with_items_left(project: Project, users: Iterable[int]) -> set[int]:
    """Those of the members, by user id, for whom there is something left to judge. One query."""
    values: dict[str, Any] = {"project": project.pk, "users": list(users), "many": 1, "shown": []}
    with connection.cursor() as cursor:
        cursor.execute(HAS_ITEMS, values)
        return {user for (user,) in cursor.fetchall()}


@dataclass(frozen=True)
class WorkStatus:
    """An annotator's counts in a project, the guidelines' version and the item's draft, for the page of one item. `left` is
    counted as far as `rough_left` needs it."""

    left: int
    today: int
    guideline_number: int | None
    draft: Any

    @property
    def rough_left(self) -> str:
        return rough_count(self.left)


WORK_STATUS = f"""
SELECT remaining.items,
    (SELECT count(*) FROM annotation_judgment
     WHERE annotator_id = %(user)s AND supersedes_id IS NULL AND created_at >= %(midnight)s
       AND item_id <> ALL (%(before)s::bigint[])),
    (SELECT max(number) FROM annotation_guideline WHERE project_id = %(project)s),
    (SELECT data FROM annotation_draft WHERE item_id = %(item)s AND annotator_id = %(user)s)
FROM ({MEMBER} WHERE user_id = %(user)s AND project_id = %(project)s) AS member
{ITEMS_LEFT}
"""


def work_status(project: Project, user: User, item: Item, *, after: Sequence[int] = ()) -> WorkStatus:
    """after: the ids of the items that are judged before this one is shown."""
    values = {
        "project": project.pk,
        "user": user.pk,
        "item": item.pk,
        "midnight": midnight(),
        "before": list(after),
        "shown": [item.pk, *after],
    }
    # the limit as a constant: with a parameter, PostgreSQL would plan the statement again each time
    many = min(MANY_LEFT, max(ROUGHLY) * project.overlap)
    statement = WORK_STATUS.replace("%(many)s", str(many))
    left, today, guideline_number, draft = prepared_statements.rows(statement, values)[0]
    # this item is left, too: counted like that whether or not its answer is known
    return WorkStatus(left + 1, today + len(after), guideline_number, json.loads(draft) if draft else None)


_ITEM = Columns(Item, "item", "id", "project_id", "prompt_id")
_PROMPT = Columns(Prompt, "prompt", "id", "project_id", "messages")
_RESPONSE = Columns(Response, "response", "id", "prompt_id", "text")
ITEM = f"""
SELECT {_ITEM}, {_PROMPT}, {_RESPONSE}
FROM annotation_item AS item
JOIN annotation_prompt AS prompt ON prompt.id = item.prompt_id
LEFT JOIN annotation_candidate AS candidate ON candidate.item_id = item.id
LEFT JOIN annotation_response AS response ON response.id = candidate.response_id
WHERE item.id = %(item)s
"""


def item_to_judge(item_id: int, annotator: User) -> Item:
    """An item with its prompt and responses, as its page needs them.

    Raises:
        Item.DoesNotExist
    """
    rows = prepared_statements.rows(ITEM, {"item": item_id})
    if not rows:
        raise Item.DoesNotExist(f"There is no item {item_id}.")
    item_end, prompt_end = len(_ITEM), len(_ITEM) + len(_PROMPT)
    item = _ITEM.build(rows[0][:item_end])
    item.prompt = _PROMPT.build(rows[0][item_end:prompt_end])
    responses = [_RESPONSE.build(row[prompt_end:]) for row in rows if row[prompt_end] is not None]
    item._prefetched_objects_cache = {"responses": responses}  # type: ignore[attr-defined]
    return item


# --- batches --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchProgress:
    """A batch with its counts of judgments, and those of each of its people."""

    batch: Batch
    total: int
    done: int
    people: list[tuple[User, int]]

    @property
    def is_done(self) -> bool:
        return self.done == self.total

    @property
    def is_late(self) -> bool:
        return self.batch.is_overdue and not self.is_done


def batches_of(project: Project) -> QuerySet[Batch]:
    """A project's batches, the newest first, with what `batch_progress` needs."""
    return project.batches.select_related("created_by").prefetch_related("people__user").order_by("-id")


def batch_progress(batches: Sequence[Batch]) -> list[BatchProgress]:
    """The progress of some batches of `batches_of`. One query."""
    total, done = Counter[int](), Counter[int]()
    done_by = Counter[tuple[int, int]]()
    slots = Slot.objects.filter(batch__in=batches).order_by().values_list("batch", "annotator", "state")
    for batch, annotator, state, n in slots.annotate(n=Count("id")):
        total[batch] += n
        if state == Slot.State.DONE:
            done[batch] += n
            done_by[batch, annotator] += n
    return [
        BatchProgress(
            batch,
            total[batch.pk],
            done[batch.pk],
            [(person.user, done_by[batch.pk, person.user_id]) for person in batch.people.all()],
        )
        for batch in batches
    ]


# --- webhooks -------------------------------------------------------------------------------------------------


def webhooks_of(project: Project) -> list[tuple[Webhook, Delivery | None]]:
    """A project's webhooks, each with its newest delivery."""
    newest = Delivery.objects.filter(webhook=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    webhooks = list(project.webhooks.annotate(newest=Subquery(newest)))
    last = Delivery.objects.defer("body").in_bulk([webhook.newest for webhook in webhooks if webhook.newest])
    return [(webhook, last.get(webhook.newest)) for webhook in webhooks]
