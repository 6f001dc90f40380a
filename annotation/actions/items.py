"""Taking items out of the queue and putting them back: restricted, retired, reopened, or made gold."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models import Count, Max
from django.utils import timezone

from annotation import audit, events
from annotation.models import Item, Slot, User

State = Item.State


@transaction.atomic
def restrict(*, item: Item, actor: User | None, reason: str) -> None:
    """Restrict an item to reviewers and leads. An annotator who has it on the screen may finish it."""
    item.state = State.RESTRICTED
    item.save(update_fields=["state"])
    item.slots.exclude(state=Slot.State.DONE).update(restricted=True, batch=None)
    _record("item.restricted", item, actor, reason=reason)


@transaction.atomic
def retire(*, item: Item, actor: User | None, reason: str) -> None:
    """Take an item out of the queue. Its judgments stay; an annotator who has it on the screen may still submit, which is
    stored without a slot and does not count."""
    if item.state == State.RETIRED:
        return
    item.state, item.retired_reason = State.RETIRED, reason[:200]
    item.save(update_fields=["state", "retired_reason"])
    item.slots.exclude(state=Slot.State.DONE).delete()
    _record("item.retired", item, actor, reason=reason)


@transaction.atomic
def reopen(*, item: Item, actor: User) -> None:
    """Put an item back into the queue, for everybody who has not judged or skipped it, with as many slots as the project's
    overlap. The skips that took it out are resolved, so that they no longer count."""
    item = Item.objects.select_for_update(no_key=True).select_related("project").get(pk=item.pk)
    if item.state == State.OPEN:
        return
    item.state, item.retired_reason = State.OPEN, ""
    item.save(update_fields=["state", "retired_reason"])
    item.skips.filter(resolved_at=None).update(resolved_at=timezone.now())
    item.slots.exclude(state=Slot.State.DONE).update(restricted=False)
    if item.gold is None:
        _fill_slots(item)
    _record("item.reopened", item, actor)


@transaction.atomic
def make_gold(*, item: Item, ranks: Mapping[int, int], explanation: str, actor: User) -> None:
    """Set an item's known answer, rank by response id. From now on it is given out at the project's gold rate, once to each
    annotator; its judgments stay as they are, and its open slots are deleted."""
    item.gold = {str(response): rank for response, rank in ranks.items()}
    item.gold_explanation = explanation
    item.save(update_fields=["gold", "gold_explanation"])
    item.slots.filter(state=Slot.State.OPEN).delete()
    item.slots.filter(state=Slot.State.LEASED).update(gold=True, restricted=False)
    _record("item.gold", item, actor, gold=item.gold)


def _fill_slots(item: Item) -> None:
    """Add open slots up to the project's overlap; slots made for gold do not count."""
    slots = item.slots.filter(gold=False).aggregate(n=Count("id"), priority=Max("priority"))
    Slot.objects.bulk_create(
        Slot(item=item, project=item.project, priority=slots["priority"] or 0)
        for _ in range(item.project.overlap - slots["n"])
    )


def _record(verb: str, item: Item, actor: User | None, **data: object) -> None:
    audit.record(verb, project=item.project, actor=actor, subject=f"item {item.pk}", item=item.pk, **data)
    events.announce(events.project_group(item.project_id), {"kind": "queue"})
