"""Leases on slots: an annotator claims one and renews it. It ends when it expires (`Slot.leased_until`), by a submit
(`judgments`), or when a slot is released (`SlotQuerySet.release`, of which skips and pauses make use)."""

from __future__ import annotations

import enum
import random
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotation import opaque
from annotation.actions import qualification
from annotation.actions.queue import QueueError
from annotation.db import prepared_statements
from annotation.eligibility import ACTIVE_BATCHES, BATCHES_OF_OTHERS, NEW_TO_ANNOTATOR
from annotation.logic.judgment_input import EXTRA_QUESTIONS
from annotation.models import Judgment, Project, Slot, User

_random = random.SystemRandom()

_TICKET = struct.Struct("!6Q16sdB")
_CHAT_BIT = 1 << 7
_OF_A_CHAT = gettext_lazy("This is a message of a live chat. It is judged there.")
_OF_NO_CHAT = gettext_lazy("This is no message of a live chat.")


class Paused(QueueError):
    """The annotator gets no items for now; the sentence says why."""


class OtherAnnotator(QueueError):
    """The ticket is of an item that was given to somebody else."""


class GuidelinesUnconfirmed(QueueError):
    """The annotator has not confirmed the current version of the guidelines."""


@dataclass(frozen=True)
class Lease:
    """One annotator's hold on one slot. It travels through the page as an encrypted ticket, so that a judgment that
    arrives after the lease has expired still proves what was shown to whom, by which version of the guidelines and with
    which questions (`Project.extra_questions`, and the version of the project's own)."""

    slot_id: int
    item_id: int
    project_id: int
    annotator_id: int
    token: str
    shown_order: list[int]
    opened_at: float
    guideline_id: int | None = None
    question_set_id: int | None = None
    extra_questions: list[str] = field(default_factory=list)
    chat: bool = False
    """Of a message of a live chat: judging it moves the chat on."""

    def ticket(self) -> str:
        """Text that only this site can read. Its length tells nothing: it depends on the number of answers alone."""
        ids = (self.slot_id, self.item_id, self.project_id, self.annotator_id)
        versions = (self.guideline_id or 0, self.question_set_id or 0)
        questions = sum(1 << n for n, name in enumerate(EXTRA_QUESTIONS) if name in self.extra_questions)
        flags = questions | self.chat * _CHAT_BIT
        head = _TICKET.pack(*ids, *versions, uuid.UUID(self.token).bytes, self.opened_at, flags)
        return opaque.encrypt(head + struct.pack(f"!{len(self.shown_order)}Q", *self.shown_order))

    @classmethod
    def read(cls, ticket: str, *, annotator: User, chat: bool | None = None) -> Lease:
        """The lease of a ticket. chat: whether it must be of a message of a live chat, or must not; None for either.

        Raises:
            QueueError: it is damaged, or of the other kind.
            OtherAnnotator: it is another annotator's.
        """
        try:
            data = opaque.decrypt(ticket)
        except opaque.UnreadableError:
            raise QueueError(_("This page's ticket is damaged. Open the item again.")) from None
        slot, item, project, holder, guideline, question_set, token, opened_at, flags = _TICKET.unpack_from(
            data
        )
        shown = struct.unpack(f"!{(len(data) - _TICKET.size) // 8}Q", data[_TICKET.size :])
        asked = [name for n, name in enumerate(EXTRA_QUESTIONS) if flags >> n & 1]
        lease = cls(
            slot_id=slot,
            item_id=item,
            project_id=project,
            annotator_id=holder,
            token=str(uuid.UUID(bytes=token)),
            shown_order=list(shown),
            opened_at=opened_at,
            guideline_id=guideline or None,
            question_set_id=question_set or None,
            extra_questions=asked,
            chat=bool(flags & _CHAT_BIT),
        )
        if lease.annotator_id != annotator.pk:
            raise OtherAnnotator(_("This item was given to someone else. Open your own from the home page."))
        if chat is not None and lease.chat != chat:
            raise QueueError(str(_OF_A_CHAT if lease.chat else _OF_NO_CHAT))
        return lease


# --- claiming -------------------------------------------------------------------------------------------------

MEMBER = """
member AS (
    SELECT role <> 'annotator' AS reviews, paused_at IS NOT NULL AS paused, paused_reason,
        role <> 'annotator' OR qualified_at IS NOT NULL OR NOT %(qualifies)s AS qualified,
        EXISTS (SELECT FROM annotation_author WHERE user_id = %(annotator)s AND project_id = %(project)s) AS writes,
        guideline.id AS guideline_id,
        %(confirmed_only)s AND guideline.id IS DISTINCT FROM confirmed_guideline_id AS unconfirmed
    FROM annotation_member
    LEFT JOIN LATERAL (SELECT id FROM annotation_guideline WHERE project_id = %(project)s
                       ORDER BY number DESC LIMIT 1) AS guideline ON true
    WHERE project_id = %(project)s AND user_id = %(annotator)s)
"""
# starts the clock of the item on the screen, if it was claimed ahead: from when its page showed it, but not before it was claimed
START_CLOCK = """
started AS (
    UPDATE annotation_slot SET opened_at = GREATEST(
        statement_timestamp() - make_interval(secs => %(shown_s)s::float8), to_timestamp(%(claimed_at)s))
    WHERE id = %(on_screen)s AND annotator_id = %(annotator)s AND state = 'leased' AND opened_at IS NULL)
"""
FREE_FOR_ANNOTATOR = f"""
    free.state <> 'done' AND NOT free.gold AND NOT free.chat
    AND (free.state = 'open' OR free.leased_until < statement_timestamp())
    AND free.restricted <= (SELECT reviews FROM member) AND (SELECT qualified FROM member)
    AND {NEW_TO_ANNOTATOR.format(item="free.item_id")}
"""
FREE = f"""
    free.project_id = %(project)s
    AND (free.batch_id IS NULL OR free.batch_id <> ALL (ARRAY(
         {BATCHES_OF_OTHERS.format(project="%(project)s", user="%(annotator)s")})))
    AND {FREE_FOR_ANNOTATOR}
"""
FREE_SLOT = """
    (SELECT free.id FROM annotation_slot AS free WHERE {free} AND {where}
     ORDER BY {order} LIMIT 1 FOR UPDATE SKIP LOCKED)
"""
_ACTIVE_BATCHES = ACTIVE_BATCHES.format(project="%(project)s")
# the annotator's own batches come before all other items, and what is due first before the others
_FREE_IN_BATCH = f"""
    (SELECT reserved.id
     FROM (SELECT batch.id FROM annotation_batchmember AS person JOIN annotation_batch AS batch ON batch.id = person.batch_id
           WHERE person.user_id = %(annotator)s AND batch.id IN ({_ACTIVE_BATCHES})
           ORDER BY batch.due_at, batch.id) AS own
     CROSS JOIN LATERAL {
    FREE_SLOT.format(
        free=FREE_FOR_ANNOTATOR,
        where="free.batch_id = own.id",
        order="free.priority DESC, free.random_key, free.id",
    )
} AS reserved LIMIT 1)
"""
_FREE_BY_PRIORITY = FREE_SLOT.format(
    free=FREE, where="true", order="free.restricted DESC, free.priority DESC, free.random_key, free.id"
)
# the first control key from a random number on, then from 0: uniform over the slots, whatever their priority
_FREE_AT_RANDOM = ",".join(
    FREE_SLOT.format(free=FREE, where=where, order="free.control_key, free.id")
    for where in ("free.control_key >= %(control_key)s", "free.control_key < %(control_key)s")
)
# One statement, so that no two people can get the same slot. An annotator who holds a lease gets the same item again, in
# the same order; otherwise a free slot. A member always gets one row, without a slot if nothing is left for them.
_CLAIM = """
WITH {member}, {start_clock},
claimed AS (
    UPDATE annotation_slot AS slot
    SET state = 'leased',
        annotator_id = %(annotator)s,
        token = CASE WHEN slot.annotator_id = %(annotator)s THEN slot.token ELSE gen_random_uuid() END,
        leased_until = statement_timestamp() + make_interval(mins => %(minutes)s::int),
        opened_at = COALESCE(CASE WHEN slot.annotator_id = %(annotator)s THEN slot.opened_at END,
                             CASE WHEN %(on_screen)s = 0 THEN statement_timestamp() END),
        control = CASE WHEN slot.annotator_id = %(annotator)s THEN slot.control
                       ELSE %(control)s AND (slot.batch_id IS NULL OR slot.batch_id <> ALL (ARRAY({active_batches}))) END,
        shown_order = CASE WHEN slot.annotator_id = %(annotator)s THEN slot.shown_order ELSE COALESCE((
            SELECT array_agg(candidate.response_id ORDER BY random())
            FROM annotation_candidate AS candidate WHERE candidate.item_id = slot.item_id), '{{}}')
        END
    WHERE NOT (SELECT paused OR unconfirmed FROM member) AND slot.id = COALESCE(
        (SELECT leased.id FROM annotation_slot AS leased
         WHERE leased.annotator_id = %(annotator)s AND leased.project_id = %(project)s AND leased.state = 'leased'
           AND NOT leased.chat AND leased.id <> ALL (%(besides)s::bigint[]) AND leased.restricted <= (SELECT reviews FROM member)
         ORDER BY leased.opened_at, leased.id LIMIT 1 FOR UPDATE),
        {free_in_batch}, {free_slot})
    RETURNING slot.id, slot.item_id, slot.token, slot.shown_order, slot.opened_at)
SELECT member.paused, member.paused_reason, member.unconfirmed, member.qualified, member.guideline_id,
    claimed.id, claimed.item_id, claimed.token, claimed.shown_order, claimed.opened_at
FROM member LEFT JOIN claimed ON true
"""
_PARTS = {
    "member": MEMBER,
    "start_clock": START_CLOCK,
    "free_in_batch": _FREE_IN_BATCH,
    "active_batches": _ACTIVE_BATCHES,
}
CLAIM_BY_PRIORITY = _CLAIM.format(**_PARTS, free_slot=_FREE_BY_PRIORITY)
CLAIM_AT_RANDOM = _CLAIM.format(**_PARTS, free_slot=_FREE_AT_RANDOM)
# A new slot on a gold item that is new to the annotator, unless they hold another lease, which a claim would return. Outside
# of a qualification there must be a free slot besides: an item that came after all others would give itself away.
CLAIM_GOLD = f"""
WITH {MEMBER}, {START_CLOCK},
claimed AS (
    INSERT INTO annotation_slot (item_id, project_id, state, priority, restricted, control, gold, annotator_id, token,
                                 leased_until, opened_at, shown_order)
    SELECT item.id, item.project_id, 'leased', 0, false, false, true, %(annotator)s, gen_random_uuid(),
        statement_timestamp() + make_interval(mins => %(minutes)s::int),
        CASE WHEN %(on_screen)s = 0 THEN statement_timestamp() END,
        (SELECT array_agg(candidate.response_id ORDER BY random())
         FROM annotation_candidate AS candidate WHERE candidate.item_id = item.id)
    FROM annotation_item AS item
    WHERE item.project_id = %(project)s AND item.gold IS NOT NULL AND item.state = 'open'
      AND NOT (SELECT paused OR unconfirmed FROM member)
      AND NOT EXISTS (SELECT FROM annotation_slot AS leased
                      WHERE leased.annotator_id = %(annotator)s AND leased.project_id = %(project)s
                        AND leased.state = 'leased' AND NOT leased.chat AND leased.id <> ALL (%(besides)s::bigint[])
                        AND leased.restricted <= (SELECT reviews FROM member))
      AND {NEW_TO_ANNOTATOR.format(item="item.id")}
      AND (%(gold_only)s OR EXISTS (SELECT FROM annotation_slot AS free WHERE {FREE}))
    ORDER BY random() LIMIT 1
    RETURNING id, item_id, token, shown_order, opened_at)
SELECT member.paused, member.paused_reason, member.unconfirmed, member.qualified, member.guideline_id,
    claimed.id, claimed.item_id, claimed.token, claimed.shown_order, claimed.opened_at
FROM member LEFT JOIN claimed ON true
"""


def claim(
    *,
    project: Project,
    annotator: User,
    on_screen: Lease | None = None,
    shown_s: float = 0.0,
    held: Sequence[Lease] = (),
    confirmed_only: bool = False,
) -> Lease | None:
    """Lease an item to the annotator; None when nothing is left for them.

    Claiming again returns the same lease. With `on_screen`, the lease of the item that they see now, it claims the item
    after that one, under a lease of its own; the time on task of that item starts when it comes on the screen, `shown_s` seconds
    ago. `held` are the leases of the other items that their page has: those behind the one on the screen, and those whose submit
    is still to come.

    Items of the annotator's batches come first, and those of other people's batches never.

    A part `project.gold_rate` of the items are gold, and a part `project.control_rate` are drawn uniformly from all free
    slots. Until an annotator has passed the project's qualification they get gold items only.

    confirmed_only: only to those who have confirmed the current version of the guidelines. The pages ask for it; a script
        gets the version with the item.

    Raises:
        Paused: they get nothing for now.
        GuidelinesUnconfirmed
        QueueError: they are not a member.
    """
    request = _Request(project, annotator, on_screen, shown_s, held, confirmed_only)
    draw = _random.random()
    if draw < project.gold_rate:
        gold = _execute_claim(CLAIM_GOLD, request)
        if gold.lease:
            return gold.lease
    is_control = project.gold_rate <= draw < project.gold_rate + project.control_rate
    statement = CLAIM_AT_RANDOM if is_control else CLAIM_BY_PRIORITY
    claimed = _execute_claim(statement, request, control=is_control)
    if claimed.lease is None and not claimed.qualified:
        return _claim_for_qualification(request)
    return claimed.lease


@dataclass(frozen=True)
class _Request:
    """The arguments of `claim`."""

    project: Project
    annotator: User
    on_screen: Lease | None
    shown_s: float
    held: Sequence[Lease]
    confirmed_only: bool


@dataclass(frozen=True)
class _Claim:
    """What a claim statement returned: the lease, and whether the annotator has qualified."""

    qualified: bool
    lease: Lease | None


def _execute_claim(
    statement: str, request: _Request, *, control: bool = False, gold_only: bool = False
) -> _Claim:
    """
    Raises:
        Paused, GuidelinesUnconfirmed, QueueError
    """
    project, annotator, on_screen = request.project, request.annotator, request.on_screen
    parameters: dict[str, Any] = {
        "annotator": annotator.pk,
        "project": project.pk,
        "minutes": project.lease_minutes,
        "qualifies": project.qualification_items > 0,
        "on_screen": on_screen.slot_id if on_screen else 0,
        "shown_s": request.shown_s,
        "claimed_at": on_screen.opened_at if on_screen else 0.0,
        "besides": [lease.slot_id for lease in (*request.held, *filter(None, [on_screen]))],
        "control": control,
        "gold_only": gold_only,
        "confirmed_only": request.confirmed_only,
        "control_key": _random.random(),
    }
    for _attempt in range(3):
        try:
            rows = prepared_statements.rows(statement, parameters)
        except IntegrityError:
            continue  # two tabs claimed two slots of one item at once: the second gets the first one's lease
        if not rows:
            raise QueueError(_("You are not a member of %(project)s.") % {"project": project})
        paused, reason, unconfirmed, qualified, guideline_id, slot_id, item_id, token, shown, opened_at = (
            rows[0]
        )
        if paused:
            raise Paused(reason or _("A lead has paused your work here."))
        if unconfirmed:
            raise GuidelinesUnconfirmed(_("Read the guidelines and confirm them first."))
        if slot_id is None:
            return _Claim(qualified, None)
        lease = Lease(
            slot_id=slot_id,
            item_id=item_id,
            project_id=project.pk,
            annotator_id=annotator.pk,
            token=str(token),
            shown_order=list(shown),
            opened_at=(opened_at or timezone.now()).timestamp(),
            guideline_id=guideline_id,
            question_set_id=project.question_set_id,
            extra_questions=project.extra_questions,
        )
        return _Claim(qualified, lease)
    raise QueueError(_("The queue is busy. Try again."))


def _claim_for_qualification(request: _Request) -> Lease | None:
    """The next gold item of an annotator who has not qualified yet.

    Raises:
        Paused: they have judged all that there are for them and did not pass, or there are none.
    """
    project, annotator, on_screen = request.project, request.annotator, request.on_screen
    if qualification.needs_more_items(project=project, user=annotator):
        claimed = _execute_claim(CLAIM_GOLD, request, gold_only=True)
        if claimed.lease:
            return claimed.lease
    if on_screen is not None:
        return None
    if qualification.decide(project_id=project.pk, user_id=annotator.pk, no_items_left=True) is None:
        raise Paused(_("This project starts with a qualification, which has no items yet. Ask its lead."))
    return claim(
        project=project, annotator=annotator, held=request.held, confirmed_only=request.confirmed_only
    )


# --- renewing -------------------------------------------------------------------------------------------------

RENEW = """
UPDATE annotation_slot AS slot
SET leased_until = statement_timestamp() + make_interval(mins => project.lease_minutes)
FROM annotation_project AS project
WHERE slot.annotator_id = %(annotator)s AND slot.project_id = %(project)s AND slot.state = 'leased'
  AND project.id = slot.project_id
RETURNING slot.id, slot.token
"""


class LeaseState(enum.Enum):
    """What has become of a lease, for whoever holds its ticket."""

    HELD = "held"
    OPEN_TO_OTHERS = "open to others"  # it expired; whoever submits first fills the slot
    FINISHED = "finished"  # others have filled the item's slots, or it was taken out of the queue
    JUDGED = "judged"  # by its own annotator, on another page


def renew(*, lease: Lease) -> LeaseState:
    """Extend the annotator's leases, on the item on the screen and on those claimed ahead, to their full time from now.
    A judgment is stored whatever the state of its lease."""
    leased = prepared_statements.rows(RENEW, {"annotator": lease.annotator_id, "project": lease.project_id})
    if (lease.slot_id, uuid.UUID(lease.token)) in leased:
        return LeaseState.HELD
    if Judgment.objects.filter(item_id=lease.item_id, annotator_id=lease.annotator_id).exists():
        return LeaseState.JUDGED
    unfilled = Slot.objects.filter(item_id=lease.item_id).exclude(state=Slot.State.DONE)
    return LeaseState.OPEN_TO_OTHERS if unfilled.exists() else LeaseState.FINISHED
