"""The queue: items go in with as many slots as judgments are wanted; people take slots out under a lease."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from django.core import signing
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from annotation import events
from annotation.models import Candidate, Draft, Item, Judgment, Project, Skip, Slot, User
from annotation.models.projects import K_MAX, K_MIN


class QueueError(Exception):
    """What cannot be done, in a sentence for the person who asked."""


@dataclass(frozen=True)
class Wanted:
    """An item to be: a prompt's id, its responses' ids, and with which probability the prompt was drawn."""

    prompt_id: int
    response_ids: Sequence[int]
    probability: float = 1.0


@dataclass(frozen=True)
class Lease:
    """One annotator's hold on one slot. Travels through the page as a signed ticket, so that a judgment that comes
    after its lease has run out still proves what was shown to whom."""

    slot_id: int
    item_id: int
    project_id: int
    annotator_id: int
    token: str
    shown_order: list[int]
    opened_at: float

    def ticket(self) -> str:
        return signing.dumps(asdict(self), salt="lease", compress=True)

    @classmethod
    def read(cls, ticket: str, *, annotator: User) -> Lease:
        """
        Raises:
            QueueError: the ticket is not ours, or was given to someone else.
        """
        try:
            lease = cls(**signing.loads(ticket, salt="lease"))
        except (signing.BadSignature, TypeError):
            raise QueueError("This page's ticket is damaged. Open the item again.") from None
        if lease.annotator_id != annotator.pk:
            raise QueueError("This item was given to someone else. Open your own from the home page.")
        return lease


@transaction.atomic
def enqueue(*, project: Project, wanted: Iterable[Wanted], priority: int = 0) -> list[Item]:
    """Put items into the queue, each with `project.overlap` slots.

    Raises:
        QueueError: an item has the wrong number of responses for the project.
    """
    plans = list(wanted)
    for plan in plans:
        k = len(set(plan.response_ids))
        if k != len(plan.response_ids) or not K_MIN <= k <= K_MAX:
            raise QueueError(f"An item of {project} cannot have {k} different responses.")
    items = Item.objects.bulk_create(
        (Item(project=project, prompt_id=plan.prompt_id, probability=plan.probability) for plan in plans),
        batch_size=5000,
    )
    Candidate.objects.bulk_create(
        (
            Candidate(item=item, response_id=response)
            for item, plan in zip(items, plans, strict=True)
            for response in plan.response_ids
        ),
        batch_size=5000,
    )
    Slot.objects.bulk_create(
        (
            Slot(item=item, project=project, priority=priority)
            for item in items
            for _ in range(project.overlap)
        ),
        batch_size=5000,
    )
    if items:
        events.announce(events.project_group(project.pk), {"kind": "queue"})
    return items


# One statement, so that no two people can be given the same slot. Who holds a lease gets the same item again, with the
# order they saw; else the first free slot of an item that they neither judged nor skipped.
CLAIM = """
UPDATE annotation_slot AS slot
SET state = 'leased',
    annotator_id = %(me)s,
    token = CASE WHEN slot.annotator_id = %(me)s THEN slot.token ELSE gen_random_uuid() END,
    leased_until = now() + make_interval(mins => %(minutes)s),
    shown_order = CASE WHEN slot.annotator_id = %(me)s THEN slot.shown_order ELSE (
        SELECT array_agg(candidate.response_id ORDER BY random())
        FROM annotation_candidate AS candidate WHERE candidate.item_id = slot.item_id
    ) END
WHERE slot.id = COALESCE(
    (SELECT mine.id FROM annotation_slot AS mine
     WHERE mine.annotator_id = %(me)s AND mine.project_id = %(project)s AND mine.state = 'leased'
     ORDER BY mine.id LIMIT 1 FOR UPDATE),
    (SELECT free.id FROM annotation_slot AS free
     WHERE free.project_id = %(project)s AND free.state <> 'done'
       AND (free.state = 'open' OR free.leased_until < now())
       AND NOT EXISTS (SELECT FROM annotation_slot AS other
                       WHERE other.item_id = free.item_id AND other.annotator_id = %(me)s)
       AND NOT EXISTS (SELECT FROM annotation_judgment AS said
                       WHERE said.item_id = free.item_id AND said.annotator_id = %(me)s
                         AND said.supersedes_id IS NULL)
       AND NOT EXISTS (SELECT FROM annotation_skip AS skip
                       WHERE skip.item_id = free.item_id AND skip.annotator_id = %(me)s)
     ORDER BY free.priority DESC, free.random_key, free.id
     LIMIT 1 FOR UPDATE SKIP LOCKED))
RETURNING slot.id, slot.item_id, slot.token, slot.shown_order
"""


def claim(*, project: Project, annotator: User) -> Lease | None:
    """The annotator's item to judge now, leased to them; None when nothing is left for them."""
    values = {"me": annotator.pk, "project": project.pk, "minutes": project.lease_minutes}
    for _ in range(3):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(CLAIM, values)
                row = cursor.fetchone()
        except IntegrityError:
            continue  # two tabs took two slots of one item at once: the second finds the first one's lease
        if row is None:
            return None
        slot_id, item_id, token, shown_order = row
        return Lease(
            slot_id=slot_id,
            item_id=item_id,
            project_id=project.pk,
            annotator_id=annotator.pk,
            token=str(token),
            shown_order=list(shown_order),
            opened_at=timezone.now().timestamp(),
        )
    raise QueueError("The queue is busy. Try again.")


def skip(*, lease: Lease, reason: str) -> None:
    """Give the slot back, for somebody else, with the reason why. Skipping twice changes nothing, nor does skipping what
    one has judged.

    Raises:
        QueueError: the reason is unknown.
    """
    if reason not in Skip.Reason.values:
        raise QueueError(f"{reason!r} is not a reason to skip: {', '.join(Skip.Reason.values)}.")
    theirs = Q(item_id=lease.item_id, annotator_id=lease.annotator_id)
    with transaction.atomic():
        if Judgment.objects.filter(theirs).exists():
            return
        Slot.objects.filter(theirs, state=Slot.State.LEASED).update(
            state=Slot.State.OPEN, annotator=None, token=None, leased_until=None, shown_order=None
        )
        Skip.objects.get_or_create(
            item_id=lease.item_id, annotator_id=lease.annotator_id, defaults={"reason": reason}
        )
        Draft.objects.filter(theirs).delete()


def save_draft(*, lease: Lease, data: dict[str, object]) -> None:
    """Keep what is on the annotator's screen, and the item in their hands for a whole lease from now. Nothing is kept
    once they no longer hold it."""
    held = Slot.objects.filter(pk=lease.slot_id, token=uuid.UUID(lease.token), state=Slot.State.LEASED)
    minutes = held.values_list("project__lease_minutes", flat=True).first()
    if minutes and held.update(leased_until=timezone.now() + timedelta(minutes=minutes)):
        Draft.objects.update_or_create(
            item_id=lease.item_id, annotator_id=lease.annotator_id, defaults={"data": data}
        )
