"""Batches: assigning items to named members with a due date, changing it, closing a batch, and reminders."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import audit, events
from annotation.actions import notifications
from annotation.analytics.item_search import Search, search_items
from annotation.eligibility import ACTIVE_BATCHES
from annotation.logic.limits import MAX_BATCH_ITEMS
from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import format_number
from annotation.models import Batch, BatchMember, Notification, Project, Slot, User

MAX_NAME_CHARS = Batch._meta.get_field("name").max_length or 0
DUE_SOON = timedelta(hours=24)
LONGEST = timedelta(days=366)


class BatchError(Exception):
    """Why a batch is refused, in a sentence; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class NewBatch:
    """A new batch, and what became of the items that were selected for it.

    Attributes:
        items: how many are in it.
        judgments: how many judgments it asks for: one for each person and item, as far as the item needs so many.
        judged: how many were left out because all of the people have judged, skipped, opened or written them, or have them in
            another batch.
        taken: how many were left out because nobody else is needed, or they are in other people's batches.
    """

    batch: Batch
    items: int
    judgments: int
    judged: int
    taken: int


# Reserves as many free slots of each item as there are people who may still judge it; `before` is the batch that a slot was in.
RESERVE = f"""
WITH able AS (
    SELECT item.id, count(*) AS people
    FROM unnest(%(items)s::bigint[]) AS item (id) CROSS JOIN unnest(%(users)s::bigint[]) AS person (id)
    WHERE NOT EXISTS (SELECT FROM annotation_slot AS own WHERE own.item_id = item.id AND own.annotator_id = person.id)
      AND NOT EXISTS (SELECT FROM annotation_judgment AS judgment
                      WHERE judgment.item_id = item.id AND judgment.annotator_id = person.id)
      AND NOT EXISTS (SELECT FROM annotation_skip AS skip
                      WHERE skip.item_id = item.id AND skip.annotator_id = person.id)
      AND NOT EXISTS (SELECT FROM annotation_candidate AS candidate
                      JOIN annotation_response AS response ON response.id = candidate.response_id
                      JOIN annotation_author AS author ON author.id = response.author_id
                      WHERE candidate.item_id = item.id AND author.user_id = person.id)
      AND NOT EXISTS (SELECT FROM annotation_slot AS own JOIN annotation_batchmember AS other USING (batch_id)
                      WHERE own.item_id = item.id AND other.user_id = person.id AND own.batch_id = ANY (ARRAY(
                          {ACTIVE_BATCHES.format(project="%(project)s")})))
    GROUP BY item.id),
free AS (
    SELECT slot.id, slot.item_id, slot.batch_id AS before, row_number() OVER (PARTITION BY slot.item_id ORDER BY slot.id) AS place
    FROM annotation_slot AS slot
    WHERE slot.item_id = ANY(%(items)s) AND NOT slot.gold AND NOT slot.restricted
      AND (slot.state = 'open' OR slot.state = 'leased' AND slot.leased_until < statement_timestamp())
      AND (slot.batch_id IS NULL OR slot.batch_id <> ALL (ARRAY({ACTIVE_BATCHES.format(project="%(project)s")})))),
reserved AS (
    UPDATE annotation_slot AS slot SET batch_id = %(batch)s
    FROM free JOIN able ON able.id = free.item_id
    WHERE slot.id = free.id AND free.place <= able.people AND slot.state <> 'done'
    RETURNING slot.item_id, slot.id, free.before)
"""
COUNTED = f"""{RESERVE}
SELECT (SELECT count(DISTINCT item_id) FROM reserved), (SELECT count(*) FROM reserved), (SELECT count(*) FROM able)
"""


@transaction.atomic
def create_batch(
    *,
    project: Project,
    name: str,
    users: Collection[int],
    due_at: datetime,
    search: Search,
    limit: int,
    actor: User,
) -> NewBatch:
    """Assign the newest open items that a search finds, at most `limit`, to members. Until it is due or closed, nobody else gets
    these items, and they get them before all others.

    Raises:
        BatchError: a name, person, due date or number is missing or wrong, or no item can be assigned.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME_CHARS or storage_problem(name):
        raise BatchError("name", _("A batch has a name of at most %(n)s characters.") % {"n": MAX_NAME_CHARS})
    people = sorted(set(users))
    if not people:
        raise BatchError("users", _("Choose at least one member."))
    if project.members.filter(user__in=people).count() != len(people):
        raise BatchError("users", _("Only members of the project can be given a batch."))
    if not 1 <= limit <= MAX_BATCH_ITEMS:
        raise BatchError(
            "limit",
            _("The number of items is from 1 to %(most)s.") % {"most": format_number(MAX_BATCH_ITEMS)},
        )
    _check_due(due_at)
    # two that are made at once would take each other's slots
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if project.batches.filter(name=name, closed_at=None, due_at__gt=timezone.now()).exists():
        raise BatchError(
            "name",
            _("There is an open batch %(name)s already: close it, or choose another name.")
            % {"name": repr(name)},
        )
    items = list(search_items(project, search).values_list("pk", flat=True)[:limit])
    if not items:
        raise BatchError("items", _("No open item matches."))
    batch = Batch.objects.create(
        project=project, name=name, created_by=actor, due_at=due_at, due_notice_at=_notice_at(due_at)
    )
    BatchMember.objects.bulk_create(BatchMember(batch=batch, user_id=pk) for pk in people)
    values: dict[str, Any] = {"items": items, "users": people, "batch": batch.pk, "project": project.pk}
    with connection.cursor() as cursor:
        cursor.execute(COUNTED, values)
        chosen, judgments, able = cursor.fetchone()
    new = NewBatch(batch, chosen, judgments, judged=len(items) - able, taken=able - chosen)
    if not chosen:
        raise BatchError(
            "items",
            _(
                "None of the %(items)s items can be assigned: %(judged)s were judged or opened by these people or are in a batch"
                " of theirs, %(taken)s are in other batches or need nobody else."
            )
            % {
                "items": format_number(len(items)),
                "judged": format_number(new.judged),
                "taken": format_number(new.taken),
            },
        )
    _record("batch.created", batch, actor, people=len(people), items=chosen, due_at=due_at)
    _notify(batch, Notification.Kind.BATCH, people)
    transaction.on_commit(_analyze_slots)
    return new


def _analyze_slots() -> None:
    """Otherwise the claim would be planned as if there were hardly any reserved slots, and sort all of a batch each time."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE annotation_slot")


@transaction.atomic
def change_due(*, batch: Batch, due_at: datetime, actor: User) -> None:
    """Change when a batch is due. If it was overdue, what is left of it is reserved again.

    Raises:
        BatchError: it is closed, or the time is not in the future.
    """
    locked = Batch.objects.select_for_update().get(pk=batch.pk)
    if locked.closed_at:
        raise BatchError("due_at", _("This batch is closed."))
    _check_due(due_at)
    before, locked.due_at = locked.due_at, due_at
    locked.due_notice_at, locked.overdue_notice_at = _notice_at(due_at), None
    locked.save(update_fields=["due_at", "due_notice_at", "overdue_notice_at"])
    _record("batch.changed", locked, actor, before=before, due_at=due_at)


@transaction.atomic
def close_batch(*, batch: Batch, actor: User | None) -> None:
    """Close a batch: what is left of it goes back to everybody. Closing it again changes nothing."""
    if Batch.objects.filter(pk=batch.pk, closed_at=None).update(closed_at=timezone.now()):
        _record("batch.closed", batch, actor)


def leave_batches(*, user: User, project: Project) -> None:
    """Take somebody who leaves a project out of its batches; a batch without people is closed."""
    BatchMember.objects.filter(batch__project=project, user=user).delete()
    people = BatchMember.objects.filter(batch=OuterRef("pk"))
    for batch in Batch.objects.filter(~Exists(people), project=project, closed_at=None).select_related(
        "project"
    ):
        close_batch(batch=batch, actor=None)


def notify_of_due() -> int:
    """Tell the people of batches of which something is left that they are due within a day, or overdue, once each. Returns how
    many batches."""
    now = timezone.now()
    left = Slot.objects.filter(batch=OuterRef("pk")).exclude(state=Slot.State.DONE)
    pending = Batch.objects.filter(Exists(left), closed_at=None)
    count = 0
    for kind, field, until in (
        (Notification.Kind.BATCH_OVERDUE, "overdue_notice_at", now),
        (Notification.Kind.BATCH_DUE, "due_notice_at", now + DUE_SOON),
    ):
        with transaction.atomic():
            due = pending.filter(due_at__lte=until, **{field: None}).select_related("project")
            for batch in due.select_for_update(skip_locked=True, of=("self",)):
                # an overdue one is not also due soon
                Batch.objects.filter(pk=batch.pk).update(**{field: now, "due_notice_at": now})
                _notify(batch, kind, list(batch.people.values_list("user", flat=True)))
                count += 1
    return count


def _notify(batch: Batch, kind: Notification.Kind, users: Collection[int]) -> None:
    url = f"{reverse('home')}#batch-{batch.pk}"
    notifications.notify(users=users, kind=kind, project=batch.project, url=url, subject=batch.name)


def _notice_at(due_at: datetime) -> datetime | None:
    """Whoever is told of a batch that is due within a day needs no reminder."""
    now = timezone.now()
    return now if due_at - now <= DUE_SOON else None


def _check_due(due_at: datetime) -> None:
    now = timezone.now()
    if not now < due_at <= now + LONGEST:
        raise BatchError("due_at", _("A batch is due in the future, within a year."))


def _record(verb: str, batch: Batch, actor: User | None, **data: object) -> None:
    audit.record(verb, project=batch.project, actor=actor, subject=batch.name, batch=batch.pk, **data)
    events.announce(events.project_group(batch.project_id), {"kind": "queue"})
