"""Putting several items into an open batch at once, and taking that back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import audit, events
from annotation.actions.batches import RESERVE, BatchError
from annotation.actions.bulk import Change
from annotation.logic.limits import MAX_BATCH_ITEMS
from annotation.logic.translation import format_number
from annotation.models import Batch, Project, Slot, User

RESERVED = f"{RESERVE} SELECT item_id, id, before FROM reserved ORDER BY item_id, id"


@transaction.atomic
def assign(*, project: Project, ids: Collection[int], actor: User, batch: str) -> list[Change]:
    """Put items into an open batch, `batch` by its id, for as many of its people as may still judge them. Items that nobody of
    them may judge, or that need nobody else, are left as they are.

    Raises:
        BatchError: there is no such open batch in the project, or it would have too many items.
    """
    # two acts at once would take each other's slots
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    found = open_batches(project).filter(pk=int(batch)).first() if _is_id(batch) else None
    if found is None:
        raise BatchError("batch", _("Choose an open batch."))
    values: dict[str, Any] = {
        "items": sorted(ids),
        "users": list(found.people.values_list("user", flat=True)),
        "batch": found.pk,
        "project": project.pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(RESERVED, values)
        rows = cursor.fetchall()
    if Slot.objects.filter(batch=found).values("item").distinct().count() > MAX_BATCH_ITEMS:
        raise BatchError(
            "batch", _("A batch has at most %(most)s items.") % {"most": format_number(MAX_BATCH_ITEMS)}
        )
    slots: dict[int, list[tuple[int, int | None]]] = defaultdict(list)
    for item, slot, before in rows:
        slots[item].append((slot, before))
    if slots:
        _record(found, actor, len(slots))
    return [{"id": item, "batch": found.pk, "slots": reserved} for item, reserved in slots.items()]


@transaction.atomic
def undo(*, project: Project, changes: list[Change], actor: User) -> int:
    """Take items out of the batch again, where none of what `assign` reserved is done or in another batch by now. Returns how
    many items."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    mine = {slot for change in changes for slot, _before in change["slots"]}
    rows = Slot.objects.filter(project=project, pk__in=mine).exclude(state=Slot.State.DONE)
    batch = changes[0]["batch"] if changes else 0
    waiting = set(rows.filter(batch=batch).select_for_update().values_list("pk", flat=True))
    back = [change for change in changes if waiting.issuperset(slot for slot, _before in change["slots"])]
    places: dict[int | None, list[int]] = defaultdict(list)
    for change in back:
        for slot, before in change["slots"]:
            places[before].append(slot)
    for before, pks in places.items():
        Slot.objects.filter(pk__in=pks).update(batch=before)
    if back:
        _record(Batch.objects.select_related("project").get(pk=batch), actor, -len(back))
    return len(back)


def open_batches(project: Project) -> Any:
    """The batches that items can be put into, newest first."""
    rows = Batch.objects.filter(project=project, closed_at=None, due_at__gt=timezone.now())
    return rows.select_related("project").order_by("-pk")


def _record(batch: Batch, actor: User, items: int) -> None:
    """items: how many came into the batch; negative for those that left it."""
    verb = "batch.extended" if items > 0 else "batch.reduced"
    data = {"batch": batch.pk, "items": abs(items)}
    audit.record(verb, project=batch.project, actor=actor, subject=batch.name, **data)
    events.announce(events.project_group(batch.project_id), {"kind": "queue"})


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) < 19
