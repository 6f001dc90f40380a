"""Items that leave the queue, and come back into it."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models import Count, Max
from django.utils import timezone

from annotation import audit, events
from annotation.logic import skip_routing as rules
from annotation.models import Item, Skip, Slot, User

State = Item.State


@transaction.atomic
def route(item: Item) -> None:
    """Take the item away from annotators, or from everybody, if it was skipped often enough (`logic.routing`)."""
    counts = item.skips.filter(resolved_at=None).order_by().values_list("reason").annotate(n=Count("id"))
    where = rules.route(dict(counts))
    if where is None:
        return
    because = f"{Skip.Reason(where.reason).label} (skipped {where.skips} times)"
    if where.to == rules.RETIRED:
        retire(item=item, actor=None, reason=because)
    elif item.state == State.OPEN:
        restrict(item=item, actor=None, reason=because)


@transaction.atomic
def restrict(*, item: Item, actor: User | None, reason: str) -> None:
    """Leave an item to reviewers and leads. Who has it on the screen may finish it."""
    item.state = State.RESTRICTED
    item.save(update_fields=["state"])
    item.slots.exclude(state=Slot.State.DONE).update(restricted=True)
    _note("item.restricted", item, actor, reason=reason)


@transaction.atomic
def retire(*, item: Item, actor: User | None, reason: str) -> None:
    """Take an item out of the queue: nobody is given it any more. What was said of it stays, and who has it on the screen
    may still say something, which is kept and does not count."""
    if item.state == State.RETIRED:
        return
    item.state, item.retired_reason = State.RETIRED, reason[:200]
    item.save(update_fields=["state", "retired_reason"])
    item.slots.exclude(state=Slot.State.DONE).delete()
    _note("item.retired", item, actor, reason=reason)


@transaction.atomic
def reopen(*, item: Item, actor: User) -> None:
    """Put an item back into the queue, for everybody who has not judged or skipped it, with as many slots as its project
    wants judgments. The skips that took it out are settled: they count no more."""
    item = Item.objects.select_for_update(no_key=True).select_related("project").get(pk=item.pk)
    if item.state == State.OPEN:
        return
    item.state, item.retired_reason = State.OPEN, ""
    item.save(update_fields=["state", "retired_reason"])
    item.skips.filter(resolved_at=None).update(resolved_at=timezone.now())
    item.slots.exclude(state=Slot.State.DONE).update(restricted=False)
    if item.gold is None:
        _fill(item)
    _note("item.reopened", item, actor)


@transaction.atomic
def make_gold(*, item: Item, ranks: Mapping[int, int], explanation: str, actor: User) -> None:
    """Give an item its known answer: rank by response id. From now on it is handed out at the project's gold rate, once
    to each person; judgments that it has already are kept as they are, and it waits for no more."""
    item.gold = {str(response): rank for response, rank in ranks.items()}
    item.gold_explanation = explanation
    item.save(update_fields=["gold", "gold_explanation"])
    item.slots.filter(state=Slot.State.OPEN).delete()
    item.slots.filter(state=Slot.State.LEASED).update(gold=True, restricted=False)
    _note("item.gold", item, actor, gold=item.gold)


def _fill(item: Item) -> None:
    """As many slots as the project wants judgments, with those that the item has: not those of people who were given it
    for its known answer."""
    slots = item.slots.filter(gold=False).aggregate(n=Count("id"), priority=Max("priority"))
    Slot.objects.bulk_create(
        Slot(item=item, project=item.project, priority=slots["priority"] or 0)
        for _ in range(item.project.overlap - slots["n"])
    )


def _note(verb: str, item: Item, actor: User | None, **data: object) -> None:
    audit.record(verb, project=item.project, actor=actor, subject=f"item {item.pk}", item=item.pk, **data)
    events.announce(events.project_group(item.project_id), {"kind": "queue"})
