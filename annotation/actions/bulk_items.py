"""Retiring, restricting, reopening and resolving several items at once, and taking that back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from annotation import audit, events
from annotation.actions import items, review
from annotation.actions.bulk import Change
from annotation.models import AuditEntry, Item, Project, ReviewFlag, Skip, Slot, Turn, User

State = Item.State
VERBS = {State.OPEN: "item.reopened", State.RESTRICTED: "item.restricted", State.RETIRED: "item.retired"}
SLOT_FIELDS = ("id", "item_id", "priority", "random_key", "control_key", "restricted", "batch_id")
"""Of a slot, what an undo puts back."""


def retire(*, project: Project, ids: Collection[int], actor: User, reason: str) -> list[Change]:
    """Take items out of the queue; those that are out already are left as they are.

    Raises:
        ReviewError: there is no reason.
    """
    return _change(
        Item.objects.exclude(state=State.RETIRED).filter(project=project, pk__in=ids),
        State.RETIRED,
        lambda found: review.retire_all(items=found, actor=actor, reason=reason),
    )


def restrict(*, project: Project, ids: Collection[int], actor: User, reason: str) -> list[Change]:
    """Restrict open items to reviewers and leads; others, and gold items, are left as they are.

    Raises:
        ReviewError: the reason is too long.
    """
    reason = review.checked_text("reason", reason)
    return _change(
        Item.objects.filter(state=State.OPEN, gold__isnull=True, project=project, pk__in=ids),
        State.RESTRICTED,
        lambda found: items.restrict_all(items=found, actor=actor, reason=reason),
    )


def reopen(*, project: Project, ids: Collection[int], actor: User, reason: str) -> list[Change]:
    """Put items back into the queue. Those with a known answer, which reopening deletes, open ones, and those of messages of
    live chats that were taken back are left as they are."""
    del reason

    def act(found: Sequence[Item]) -> None:
        items.reopen_all(items=found, actor=actor)
        review.resolve_all(found)

    return _change(
        Item.objects.exclude(state=State.OPEN)
        .exclude(turn__state=Turn.State.DROPPED)
        .filter(gold__isnull=True, project=project, pk__in=ids),
        State.OPEN,
        act,
    )


@transaction.atomic
def resolve(*, project: Project, ids: Collection[int], actor: User, reason: str) -> list[Change]:
    """Resolve the skips and flags that wait for a reviewer, without a verdict. Items without any are left as they are."""
    del actor, reason
    found = _locked(Item.objects.filter(project=project, pk__in=ids))
    skips, flags = _unresolved(found)
    waiting = [item for item in found if skips[item.pk] or flags[item.pk]]
    review.resolve_all(waiting)
    entry = _last_entry()
    return [
        {"id": item.pk, "skips": skips[item.pk], "flags": flags[item.pk], "entry": entry} for item in waiting
    ]


@transaction.atomic
def undo_resolve(*, project: Project, changes: list[Change], actor: User) -> int:
    """Let wait again what `resolve` resolved, but not of items that somebody has decided about since. Returns how many items."""
    del actor
    touched = _touched(project, changes)
    _locked(Item.objects.filter(project=project, pk__in=[change["id"] for change in changes]))
    back = [change for change in changes if change["id"] not in touched]
    _let_wait(back)
    return len(back)


@transaction.atomic
def undo(*, project: Project, changes: list[Change], actor: User) -> int:
    """Put items back as they were before, with their slots and what waited for a reviewer; those that somebody has changed since
    stay. Returns how many it put back."""
    by_id = {change["id"]: change for change in changes}
    touched = _touched(project, changes)
    unchanged = [
        item
        for item in _locked(
            Item.objects.filter(project=project, pk__in=by_id).exclude(turn__state=Turn.State.DROPPED)
        )
        if item.pk not in touched and item.state == by_id[item.pk]["after"] and item.gold is None
    ]
    back = [by_id[item.pk] for item in unchanged]
    states: dict[tuple[str, str], list[int]] = defaultdict(list)
    for change in back:
        states[change["state"], change["retired_reason"]].append(change["id"])
    for (state, reason), pks in states.items():
        Item.objects.filter(pk__in=pks).update(state=state, retired_reason=reason)
    _put_slots_back(project, unchanged, [slot for change in back for slot in change["slots"]])
    items.give_back_to_chats([item for item in unchanged if by_id[item.pk]["state"] != State.RETIRED])
    for put_back, verb in VERBS.items():
        entries = [
            (f"item {c['id']}", {"item": c["id"], "undo": True}) for c in back if c["state"] == put_back
        ]
        audit.record_all(verb, project=project, actor=actor, entries=entries)
    _let_wait(back)
    events.announce(events.project_group(project.pk), {"kind": "queue"})
    return len(unchanged)


@transaction.atomic
def _change(rows: QuerySet[Item], after: Item.State, act: Callable[[Sequence[Item]], object]) -> list[Change]:
    """Brings the items into the state `after`, and returns how they were."""
    found = _locked(rows)
    slots = _open_slots(found)
    skips, flags = _unresolved(found)
    changes: list[Change] = [
        {
            "id": item.pk,
            "after": str(after),
            "state": item.state,
            "retired_reason": item.retired_reason,
            "slots": slots[item.pk],
            "skips": skips[item.pk],
            "flags": flags[item.pk],
        }
        for item in found
    ]
    act(found)
    entry = _last_entry()
    return [change | {"entry": entry} for change in changes]


def _last_entry() -> int:
    return AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _touched(project: Project, changes: list[Change]) -> set[int]:
    """The items about which somebody has decided since the changes."""
    last = max((change["entry"] for change in changes), default=0)
    ids = [change["id"] for change in changes]
    later = AuditEntry.objects.filter(project=project, pk__gt=last, data__item__in=ids)
    return set(later.values_list("data__item", flat=True))


def _let_wait(changes: list[Change]) -> None:
    """Let their skips and flags wait for a reviewer again."""
    Skip.objects.filter(pk__in=[pk for change in changes for pk in change["skips"]]).update(resolved_at=None)
    flags = [pk for change in changes for pk in change["flags"]]
    ReviewFlag.objects.filter(pk__in=flags).update(resolved_at=None)


def _locked(rows: QuerySet[Item]) -> list[Item]:
    """In the order of their ids, so that two acts wait for each other."""
    return list(rows.select_for_update(no_key=True, of=("self",)).select_related("project").order_by("pk"))


def _open_slots(found: list[Item]) -> dict[int, list[dict[str, Any]]]:
    """The slots that nobody has filled, by item, but those for one annotator alone."""
    slots: dict[int, list[dict[str, Any]]] = defaultdict(list)
    rows = (
        Slot.objects.filter(item__in=found)
        .exclude(state=Slot.State.DONE)
        .exclude(Q(gold=True) | Q(chat=True))
    )
    for slot in rows.order_by("pk").values(*SLOT_FIELDS):
        slots[slot["item_id"]].append(slot)
    return slots


def _unresolved(found: list[Item]) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """The ids of skips and of flags that wait for a reviewer, by item."""
    skips: dict[int, list[int]] = defaultdict(list)
    for item, pk in Skip.objects.filter(item__in=found, resolved_at=None).values_list("item", "pk"):
        skips[item].append(pk)
    flags: dict[int, list[int]] = defaultdict(list)
    waiting = ReviewFlag.objects.filter(judgment__item__in=found, resolved_at=None)
    for item, pk in waiting.values_list("judgment__item", "pk"):
        flags[item].append(pk)
    return skips, flags


def _put_slots_back(project: Project, found: list[Item], before: list[dict[str, Any]]) -> None:
    """The items' unfilled slots as they were. Those that were deleted are open again; those that are new are deleted, although
    somebody may have one on the screen: their judgment is stored without a slot, as for every retired item."""
    there = {slot["id"] for slots in _open_slots(found).values() for slot in slots}
    wanted = {slot["id"]: slot for slot in before}
    Slot.objects.filter(pk__in=there - wanted.keys()).delete()
    places: dict[tuple[bool, int | None], list[int]] = defaultdict(list)
    for pk in there & wanted.keys():
        places[wanted[pk]["restricted"], wanted[pk]["batch_id"]].append(pk)
    for (restricted, batch), pks in places.items():
        Slot.objects.filter(pk__in=pks).update(restricted=restricted, batch=batch)
    known = set(Slot.objects.filter(pk__in=wanted).values_list("pk", flat=True))  # some may be done
    Slot.objects.bulk_create(
        Slot(project=project, **{name: slot[name] for name in SLOT_FIELDS if name != "id"})
        for pk, slot in wanted.items()
        if pk not in known
    )
