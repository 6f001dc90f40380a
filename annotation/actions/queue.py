"""The queue: items go in with as many slots as judgments are wanted; people take slots out under a lease."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.core import signing
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from annotation import events
from annotation.actions import items, qualification
from annotation.db import bulk_insert, prepared_statements
from annotation.logic.limits import MAX_RESPONSES, MAX_SKIP_NOTE_CHARS, MIN_RESPONSES
from annotation.logic.storable_text import storage_problem
from annotation.models import Candidate, Draft, Item, Judgment, Project, Skip, Slot, User

_dice = random.SystemRandom()


class QueueError(Exception):
    """What cannot be done, in a sentence for the person who asked."""


class Paused(QueueError):
    """Nothing is handed out to this person for now; the sentence says why."""


@dataclass(frozen=True)
class ItemSpec:
    """An item to be: a prompt's id, its responses' ids, and with which probability the prompt was drawn.

    `more`: how many people judge it beyond the project's overlap.
    `gold`: the ranks that are right, by response id, where they are known, and why.
    """

    prompt_id: int
    response_ids: Sequence[int]
    probability: float = 1.0
    more: int = 0
    gold: Mapping[int, int] | None = None
    gold_explanation: str = ""


@dataclass(frozen=True)
class Lease:
    """One annotator's hold on one slot. Travels through the page as a signed ticket, so that a judgment that comes
    after its lease has run out still proves what was shown to whom, and what was asked of them (`Project.asks`)."""

    slot_id: int
    item_id: int
    project_id: int
    annotator_id: int
    token: str
    shown_order: list[int]
    opened_at: float
    asks: list[str] = field(default_factory=list)

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


# --- in -------------------------------------------------------------------------------------------------------


@transaction.atomic
def enqueue(*, project: Project, specs: Iterable[ItemSpec], priority: int = 0) -> list[int]:
    """Put items into the queue, each with `project.overlap` slots, or some more; a gold item has none that wait. Returns
    their ids.

    Two to nine responses are to be ordered; in a project that asks for demonstrations a prompt comes with none, to be
    answered, or with one, to be made better.

    Raises:
        QueueError: an item has the wrong number of responses for the project, or a gold item lacks ranks.
    """
    plans = list(specs)
    for plan in plans:
        _check_plan(project, plan)
    items = bulk_insert.insert(
        Item,
        ("project_id", "prompt_id", "probability", "gold", "gold_explanation"),
        [
            (project.pk, plan.prompt_id, plan.probability, _gold(plan), plan.gold_explanation)
            for plan in plans
        ],
    )
    placed = list(zip(items, plans, strict=True))
    bulk_insert.insert(
        Candidate,
        ("item_id", "response_id"),
        [(item, response) for item, plan in placed for response in plan.response_ids],
    )
    bulk_insert.insert(
        Slot,
        ("item_id", "project_id", "priority"),
        [
            (item, project.pk, priority)
            for item, plan in placed
            if not plan.gold
            for _ in range(project.overlap + plan.more)
        ],
    )
    if items:
        events.announce(events.project_group(project.pk), {"kind": "queue"})
    return items


def _gold(plan: ItemSpec) -> str | None:
    """As the database keeps it."""
    return json.dumps({str(response): rank for response, rank in plan.gold.items()}) if plan.gold else None


def _check_plan(project: Project, plan: ItemSpec) -> None:
    k, least, most = len(set(plan.response_ids)), MIN_RESPONSES, MAX_RESPONSES
    if project.task == Project.Task.DEMONSTRATIONS:
        least, most = 0, 1
    if k != len(plan.response_ids) or not least <= k <= most:
        raise QueueError(f"An item of {project} cannot have {k} different responses.")
    if plan.gold is not None and (k < 2 or set(plan.gold) != set(plan.response_ids)):
        raise QueueError("A known answer needs a rank for every response of its item.")


# --- out ------------------------------------------------------------------------------------------------------

# What a person has had to do with an item keeps them from getting it (again): a slot, a judgment, a skip, or an answer
# in it that they wrote themselves. OFFSET 0 has it asked of one item after the other, until one is new to them: joined, it
# would begin with all that they ever judged.
NEW_TO_ME = """
    NOT EXISTS (SELECT FROM annotation_slot AS other
                WHERE other.item_id = {item} AND other.annotator_id = %(me)s OFFSET 0)
    AND NOT EXISTS (SELECT FROM annotation_judgment AS said
                    WHERE said.item_id = {item} AND said.annotator_id = %(me)s AND said.supersedes_id IS NULL OFFSET 0)
    AND NOT EXISTS (SELECT FROM annotation_skip AS skip
                    WHERE skip.item_id = {item} AND skip.annotator_id = %(me)s OFFSET 0)
    AND NOT ((SELECT writes FROM me) AND EXISTS (
        SELECT FROM annotation_candidate AS candidate
        JOIN annotation_response AS response ON response.id = candidate.response_id
        JOIN annotation_author AS author ON author.id = response.author_id
        WHERE candidate.item_id = {item} AND author.user_id = %(me)s OFFSET 0))
"""
ME = """
me AS (
    SELECT role <> 'annotator' AS reviews, paused_at IS NOT NULL AS paused, paused_reason,
        role <> 'annotator' OR qualified_at IS NOT NULL OR NOT %(qualifies)s AS qualified,
        EXISTS (SELECT FROM annotation_author WHERE user_id = %(me)s AND project_id = %(project)s) AS writes
    FROM annotation_member WHERE project_id = %(project)s AND user_id = %(me)s)
"""
# the item that was held ahead is on the screen now
SHOWN = """
shown AS (
    UPDATE annotation_slot SET opened_at = statement_timestamp()
    WHERE id = %(besides)s AND annotator_id = %(me)s AND state = 'leased' AND opened_at IS NULL)
"""
FREE = """
    (SELECT free.id FROM annotation_slot AS free
     WHERE free.project_id = %(project)s AND free.state <> 'done' AND NOT free.gold
       AND (free.state = 'open' OR free.leased_until < statement_timestamp())
       AND free.restricted <= (SELECT reviews FROM me) AND (SELECT qualified FROM me)
       AND {new}
       AND {where}
     ORDER BY {order}
     LIMIT 1 FOR UPDATE SKIP LOCKED)
"""
_NEW = NEW_TO_ME.format(item="free.item_id")
_IN_ORDER = FREE.format(
    new=_NEW, where="true", order="free.restricted DESC, free.priority DESC, free.random_key, free.id"
)
# the first one after a number drawn evenly, and round again: whatever its priority
_EVENLY = ",".join(
    FREE.format(new=_NEW, where=where, order="free.control_key, free.id")
    for where in ("free.control_key >= %(drawn)s", "free.control_key < %(drawn)s")
)
# One statement, so that no two people can be given the same slot. Who holds a lease gets the same item again, with the
# order they saw; else a free slot. There is one row for every member, without a slot where nothing is left for them.
_CLAIM = """
WITH {me}, {shown},
taken AS (
    UPDATE annotation_slot AS slot
    SET state = 'leased',
        annotator_id = %(me)s,
        token = CASE WHEN slot.annotator_id = %(me)s THEN slot.token ELSE gen_random_uuid() END,
        leased_until = statement_timestamp() + make_interval(mins => %(minutes)s::int),
        opened_at = COALESCE(CASE WHEN slot.annotator_id = %(me)s THEN slot.opened_at END,
                             CASE WHEN %(besides)s = 0 THEN statement_timestamp() END),
        control = CASE WHEN slot.annotator_id = %(me)s THEN slot.control ELSE %(control)s END,
        shown_order = CASE WHEN slot.annotator_id = %(me)s THEN slot.shown_order ELSE COALESCE((
            SELECT array_agg(candidate.response_id ORDER BY random())
            FROM annotation_candidate AS candidate WHERE candidate.item_id = slot.item_id), '{{}}')
        END
    WHERE NOT (SELECT paused FROM me) AND slot.id = COALESCE(
        (SELECT mine.id FROM annotation_slot AS mine
         WHERE mine.annotator_id = %(me)s AND mine.project_id = %(project)s AND mine.state = 'leased'
           AND mine.id <> %(besides)s AND mine.restricted <= (SELECT reviews FROM me)
         ORDER BY mine.opened_at, mine.id LIMIT 1 FOR UPDATE),
        {free})
    RETURNING slot.id, slot.item_id, slot.token, slot.shown_order, slot.opened_at)
SELECT me.paused, me.paused_reason, me.qualified,
    taken.id, taken.item_id, taken.token, taken.shown_order, taken.opened_at
FROM me LEFT JOIN taken ON true
"""
CLAIM_IN_ORDER = _CLAIM.format(me=ME, shown=SHOWN, free=_IN_ORDER)
CLAIM_EVENLY = _CLAIM.format(me=ME, shown=SHOWN, free=_EVENLY)
# A slot of its own on a gold item that is new to them, unless they hold another lease that a claim gives back.
GOLD = f"""
WITH {ME}, {SHOWN},
taken AS (
    INSERT INTO annotation_slot (item_id, project_id, state, priority, restricted, control, gold, annotator_id, token,
                                 leased_until, opened_at, shown_order)
    SELECT item.id, item.project_id, 'leased', 0, false, false, true, %(me)s, gen_random_uuid(),
        statement_timestamp() + make_interval(mins => %(minutes)s::int), CASE WHEN %(besides)s = 0 THEN statement_timestamp() END,
        (SELECT array_agg(candidate.response_id ORDER BY random())
         FROM annotation_candidate AS candidate WHERE candidate.item_id = item.id)
    FROM annotation_item AS item
    WHERE item.project_id = %(project)s AND item.gold IS NOT NULL AND item.state = 'open'
      AND NOT (SELECT paused FROM me)
      AND NOT EXISTS (SELECT FROM annotation_slot AS held
                      WHERE held.annotator_id = %(me)s AND held.project_id = %(project)s AND held.state = 'leased'
                        AND held.id <> %(besides)s AND held.restricted <= (SELECT reviews FROM me))
      AND {NEW_TO_ME.format(item="item.id")}
    ORDER BY random() LIMIT 1
    RETURNING id, item_id, token, shown_order, opened_at)
SELECT me.paused, me.paused_reason, me.qualified,
    taken.id, taken.item_id, taken.token, taken.shown_order, taken.opened_at
FROM me LEFT JOIN taken ON true
"""


def claim(*, project: Project, annotator: User, besides: Lease | None = None) -> Lease | None:
    """The annotator's item to judge now, leased to them; None when nothing is left for them.

    Asking again gives the same one. With `besides`, the lease of the item on their screen, it is the next one after
    that, held ahead under a lease of its own; its time on task begins when it is the one on the screen.

    Of what is handed out, `project.gold_rate` is gold and `project.control_rate` drawn evenly from all that waits.
    Until somebody has passed the project's qualification they get gold only.

    Raises:
        Paused: they get nothing for now.
        QueueError: they are no member.
    """
    chance = _dice.random()
    if chance < project.gold_rate:
        gold = _take(GOLD, project, annotator, besides)
        if gold.lease:
            return gold.lease
    is_control = project.gold_rate <= chance < project.gold_rate + project.control_rate
    statement = CLAIM_EVENLY if is_control else CLAIM_IN_ORDER
    answer = _take(statement, project, annotator, besides, is_control)
    if answer.lease is None and not answer.qualified:
        return _claim_to_qualify(project, annotator, besides)
    return answer.lease


@dataclass(frozen=True)
class _Answer:
    qualified: bool
    lease: Lease | None


def _take(
    statement: str, project: Project, annotator: User, besides: Lease | None, control: bool = False
) -> _Answer:
    """
    Raises:
        Paused, QueueError
    """
    values: dict[str, Any] = {
        "me": annotator.pk,
        "project": project.pk,
        "minutes": project.lease_minutes,
        "qualifies": project.qualification_items > 0,
        "besides": besides.slot_id if besides else 0,
        "control": control,
        "drawn": _dice.random(),
    }
    for _ in range(3):
        try:
            found = prepared_statements.rows(statement, values)
        except IntegrityError:
            continue  # two tabs took two slots of one item at once: the second finds the first one's lease
        if not found:
            raise QueueError(f"You are no member of {project}.")
        paused, reason, qualified, slot_id, item_id, token, shown_order, opened_at = found[0]
        if paused:
            raise Paused(reason or "A lead has paused your work here.")
        if slot_id is None:
            return _Answer(qualified, None)
        lease = Lease(
            slot_id=slot_id,
            item_id=item_id,
            project_id=project.pk,
            annotator_id=annotator.pk,
            token=str(token),
            shown_order=list(shown_order),
            opened_at=(opened_at or timezone.now()).timestamp(),
            asks=project.asks,
        )
        return _Answer(qualified, lease)
    raise QueueError("The queue is busy. Try again.")


def _claim_to_qualify(project: Project, annotator: User, besides: Lease | None) -> Lease | None:
    """The next gold item of somebody who has not qualified yet.

    Raises:
        Paused: they have judged all that there are for them and did not pass, or there are none.
    """
    if qualification.wants_more(project=project, user=annotator):
        answer = _take(GOLD, project, annotator, besides)
        if answer.lease:
            return answer.lease
    if besides is not None:
        return None
    if qualification.settle(project_id=project.pk, user_id=annotator.pk, nothing_left=True) is None:
        raise Paused(
            "This project begins with a qualification, and there is nothing in it yet. Ask its lead."
        )
    return claim(project=project, annotator=annotator)


# --- while it is held -----------------------------------------------------------------------------------------

RENEW = """
UPDATE annotation_slot AS slot
SET leased_until = statement_timestamp() + make_interval(mins => project.lease_minutes)
FROM annotation_project AS project
WHERE slot.annotator_id = %(me)s AND slot.project_id = %(project)s AND slot.state = 'leased'
  AND project.id = slot.project_id
RETURNING slot.id, slot.token
"""


def renew(*, lease: Lease) -> bool:
    """A whole lease from now, for what is on the screen and for what is held ahead. False when somebody else may have
    the item by now: what the annotator says of it is kept all the same."""
    held = prepared_statements.rows(RENEW, {"me": lease.annotator_id, "project": lease.project_id})
    return (lease.slot_id, uuid.UUID(lease.token)) in held


SAVE_DRAFT = """
WITH held AS (
    UPDATE annotation_slot AS slot
    SET leased_until = statement_timestamp() + make_interval(mins => project.lease_minutes)
    FROM annotation_project AS project
    WHERE slot.id = %(slot)s AND slot.token = %(token)s AND slot.state = 'leased' AND project.id = slot.project_id
    RETURNING slot.item_id, slot.annotator_id)
INSERT INTO annotation_draft (item_id, annotator_id, data, saved_at)
SELECT item_id, annotator_id, %(data)s::jsonb, statement_timestamp() FROM held
ON CONFLICT (item_id, annotator_id) DO UPDATE SET data = excluded.data, saved_at = excluded.saved_at
RETURNING item_id
"""


def save_draft(*, lease: Lease, data: Any) -> None:
    """Keep what is on the annotator's screen, any JSON, and the item in their hands for a whole lease from now. Nothing
    is kept once they no longer hold it.

    Raises:
        QueueError: it holds what the database cannot keep.
    """
    values: dict[str, Any] = {"slot": lease.slot_id, "token": lease.token, "data": _json(data)}
    prepared_statements.rows(SAVE_DRAFT, values)


def _json(data: Any) -> str:
    """
    Raises:
        QueueError: PostgreSQL cannot keep it: a text with a null byte or half of a surrogate pair, an infinite number.
    """
    for text in _texts(data):
        if problem := storage_problem(text):
            raise QueueError(f"The text {problem}.")
    try:
        return json.dumps(data, allow_nan=False)
    except ValueError:
        raise QueueError("A number is too large, or none at all.") from None


def _texts(data: Any) -> Iterator[str]:
    """Every text in it, names included."""
    waiting = [data]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one


def skip(*, lease: Lease, reason: str, note: str = "", data: Any = None) -> None:
    """Give the slot back, for somebody else, with the reason why; enough of the same reasons take the item away from
    annotators (`logic.routing`). Skipping twice changes nothing, nor does skipping what one has judged.

    Args:
        note: what they add in words.
        data: what they had said of it, any JSON, where they send it to a reviewer.

    Raises:
        QueueError: the reason is unknown, or the note cannot be kept.
    """
    if reason not in Skip.Reason.values:
        raise QueueError(f"{reason!r} is not a reason to skip: {', '.join(Skip.Reason.values)}.")
    if len(note) > MAX_SKIP_NOTE_CHARS:
        raise QueueError(f"A note may have at most {MAX_SKIP_NOTE_CHARS:,} characters.")
    _json([note, data])
    theirs = Q(item_id=lease.item_id, annotator_id=lease.annotator_id)
    with transaction.atomic():
        # two people who skip at once are counted one after the other
        item = Item.objects.select_for_update(no_key=True).get(pk=lease.item_id)
        if Judgment.objects.filter(theirs).exists():
            return
        Slot.objects.filter(theirs).release()
        _, added = Skip.objects.get_or_create(
            item=item,
            annotator_id=lease.annotator_id,
            defaults={"reason": reason, "note": note.strip(), "data": data},
        )
        Draft.objects.filter(theirs).delete()
        if added:
            items.route(item)
        if item.gold is not None:
            qualification.settle(project_id=lease.project_id, user_id=lease.annotator_id)
