"""Taking items out of the queue and putting them back: restricted, retired, reopened, or made gold."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Count, Max
from django.utils import timezone

from annotation import audit, events
from annotation.models import Item, Skip, Slot, Turn, User
from annotation.models.queue import SlotQuerySet

State = Item.State
CHAT_LEASE = timedelta(days=1)
"""How long an annotator may take for the choice between the two answers of a live chat."""


def restrict(*, item: Item, actor: User | None, reason: str) -> None:
    """Restrict an item to reviewers and leads. An annotator who has it on the screen may finish it."""
    restrict_all(items=[item], actor=actor, reason=reason)


@transaction.atomic
def restrict_all(*, items: Sequence[Item], actor: User | None, reason: str) -> None:
    """`restrict` for each of some items of one project."""
    _set_state(items, State.RESTRICTED)
    _unfilled(items).update(restricted=True, batch=None)
    _record("item.restricted", items, actor, reason=reason)


def retire(*, item: Item, actor: User | None, reason: str) -> None:
    """Take an item out of the queue. Its judgments stay; an annotator who has it on the screen may still submit, which is
    stored without a slot and does not count."""
    retire_all(items=[item], actor=actor, reason=reason)


@transaction.atomic
def retire_all(*, items: Sequence[Item], actor: User | None, reason: str) -> None:
    """`retire` for each of some items of one project."""
    items = [item for item in items if item.state != State.RETIRED]
    _set_state(items, State.RETIRED, reason[:200])
    _unfilled(items).delete()
    _record("item.retired", items, actor, reason=reason)


def reopen(*, item: Item, actor: User) -> None:
    """Put an item back into the queue, for everybody who has not judged or skipped it, with as many slots as the project's
    overlap. The skips that took it out are resolved, so that they no longer count. An item of a live chat stays its annotator's
    alone, and one whose message was taken back is left as it is."""
    reopen_all(items=[item], actor=actor)


@transaction.atomic
def reopen_all(*, items: Sequence[Item], actor: User) -> None:
    """`reopen` for each of some items of one project."""
    locked = Item.objects.filter(pk__in=[item.pk for item in items]).exclude(state=State.OPEN)
    locked = locked.exclude(turn__state=Turn.State.DROPPED)
    items = list(locked.select_for_update(no_key=True, of=("self",)).select_related("project").order_by("pk"))
    _set_state(items, State.OPEN)
    Skip.objects.filter(item__in=items, resolved_at=None).update(resolved_at=timezone.now())
    _unfilled(items).update(restricted=False)
    give_back_to_chats(items)
    _fill_slots([item for item in items if item.gold is None])
    _record("item.reopened", items, actor)


@transaction.atomic
def make_gold(*, item: Item, ranks: Mapping[int, int], explanation: str, actor: User) -> None:
    """Set an item's known answer, rank by response id. From now on it is given out at the project's gold rate, once to each
    annotator; its judgments stay as they are, and its open slots are deleted."""
    item.gold = {str(response): rank for response, rank in ranks.items()}
    item.gold_explanation = explanation
    item.save(update_fields=["gold", "gold_explanation"])
    item.slots.filter(state=Slot.State.OPEN).delete()
    item.slots.filter(state=Slot.State.LEASED).update(gold=True, restricted=False)
    _record("item.gold", [item], actor, gold=item.gold)


def lease_slot(item: Item, annotator: User, shown_order: Sequence[int]) -> Slot:
    """The item's slot, which only this annotator gets, in their chat."""
    return Slot.objects.create(
        item=item,
        project_id=item.project_id,
        state=Slot.State.LEASED,
        chat=True,
        annotator=annotator,
        token=uuid.uuid4(),
        leased_until=timezone.now() + CHAT_LEASE,
        opened_at=timezone.now(),
        shown_order=list(shown_order),
    )


def give_back_to_chats(items: Sequence[Item]) -> None:
    """Lease those of the items whose messages wait for the choice, and that have no slot any more, to their chats' annotators."""
    waiting = Turn.objects.filter(item__in=items, item__slots=None, state=Turn.State.JUDGING)
    for turn in waiting.select_related("item", "chat__annotator"):
        if turn.item is not None:
            shown = turn.item.candidates.order_by("pk").values_list("response", flat=True)
            lease_slot(turn.item, turn.chat.annotator, list(shown))


def _set_state(items: Sequence[Item], state: Item.State, reason: str | None = None) -> None:
    """Also on the instances. reason: why they are retired; restricting items leaves it as it was."""
    values = (
        {"state": state} if state == State.RESTRICTED else {"state": state, "retired_reason": reason or ""}
    )
    Item.objects.filter(pk__in=[item.pk for item in items]).update(**values)
    for item in items:
        for name, value in values.items():
            setattr(item, name, value)


def _unfilled(items: Sequence[Item]) -> SlotQuerySet:
    return Slot.objects.filter(item__in=items).exclude(state=Slot.State.DONE)


def _fill_slots(items: Sequence[Item]) -> None:
    """Add open slots up to the project's overlap, but to items of live chats; slots made for gold do not count."""
    of_chats = set(Slot.objects.filter(item__in=items, chat=True).values_list("item", flat=True))
    items = [item for item in items if item.pk not in of_chats]
    slots = Slot.objects.filter(item__in=items, gold=False).order_by().values("item")
    counts = {row["item"]: row for row in slots.annotate(n=Count("id"), highest=Max("priority"))}
    none = {"n": 0, "highest": 0}
    Slot.objects.bulk_create(
        Slot(item=item, project=item.project, priority=counts.get(item.pk, none)["highest"])
        for item in items
        for _ in range(item.project.overlap - counts.get(item.pk, none)["n"])
    )


def _record(verb: str, items: Sequence[Item], actor: User | None, **data: object) -> None:
    if items:
        project = items[0].project
        entries = [(f"item {item.pk}", {"item": item.pk, **data}) for item in items]
        audit.record_all(verb, project=project, actor=actor, entries=entries)
        events.announce(events.project_group(project.pk), {"kind": "queue"})
