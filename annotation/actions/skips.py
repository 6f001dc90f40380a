"""Skips: an annotator gives an item back with a reason, and enough skips take it out of the queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.actions import items, qualification
from annotation.actions.leases import Lease
from annotation.actions.queue import QueueError
from annotation.logic import skip_routing
from annotation.logic.device_times import NO_TIMES, DeviceTimes
from annotation.logic.limits import MAX_SKIP_NOTE_CHARS
from annotation.logic.storable_text import UnstorableError, dump_json
from annotation.logic.translation import format_number
from annotation.models import Draft, Item, Judgment, Skip, Slot


def skip(
    *, lease: Lease, reason: str, note: str = "", data: Any = None, times: DeviceTimes = NO_TIMES
) -> None:
    """Release the annotator's slot, for somebody else, and record why; enough skips for the same reason take the item away
    from annotators (`logic.skip_routing`). Skipping twice changes nothing, nor does skipping an item already judged.

    Args:
        note: the annotator's own words.
        data: what they had entered, any JSON, if they send the item to a reviewer.
        times: when it was submitted, if a page could only send it later.

    Raises:
        QueueError: the reason is unknown, or the note or the data cannot be stored.
    """
    if reason not in Skip.Reason.values:
        values = {"reason": reason, "reasons": ", ".join(Skip.Reason.values)}
        raise QueueError(_("%(reason)r is not a reason to skip: %(reasons)s.") % values)
    if len(note) > MAX_SKIP_NOTE_CHARS:
        limit = format_number(MAX_SKIP_NOTE_CHARS)
        raise QueueError(_("A note may have at most %(limit)s characters.") % {"limit": limit})
    try:
        dump_json([note, data])
    except UnstorableError as error:
        raise QueueError(str(error)) from None
    by_annotator = Q(item_id=lease.item_id, annotator_id=lease.annotator_id)
    with transaction.atomic():
        # two people who skip at once are counted one after the other
        item = Item.objects.select_for_update(no_key=True).get(pk=lease.item_id)
        if Judgment.objects.filter(by_annotator).exists():
            return
        slot = Slot.objects.filter(by_annotator, state=Slot.State.LEASED).first()
        claimed_at = datetime.fromtimestamp(lease.opened_at, UTC)
        submitted_at = max(claimed_at, timezone.now() - timedelta(seconds=times.late))
        opened_at = slot.opened_at if slot else None
        if opened_at is None and times.seconds is not None:
            opened_at = claimed_at
        seconds = None
        if opened_at is not None:
            seconds = max(0.0, (submitted_at - opened_at).total_seconds())
            seconds = seconds if times.seconds is None else min(seconds, times.seconds)
        Slot.objects.filter(by_annotator).update(
            batch=None
        )  # somebody else may have it, also outside of the batch
        Slot.objects.filter(by_annotator).release()
        _skip, added = Skip.objects.get_or_create(
            item=item,
            annotator_id=lease.annotator_id,
            defaults={
                "reason": reason,
                "note": note.strip(),
                "data": data,
                "seconds": seconds,
                "submitted_at": submitted_at if times.is_late else None,
            },
        )
        Draft.objects.filter(by_annotator).delete()
        if added:
            _route(item)
        qualification.decide(project_id=lease.project_id, user_id=lease.annotator_id)


def _route(item: Item) -> None:
    """Restrict the item to reviewers, or retire it, if it was skipped often enough."""
    counts = item.skips.filter(resolved_at=None).order_by().values_list("reason").annotate(n=Count("id"))
    routing = skip_routing.route(dict(counts))
    if routing is None:
        return
    with translation.override(settings.LANGUAGE_CODE):  # it is stored, for several readers
        text = ngettext("%(reason)s (skipped %(n)s times)", "%(reason)s (skipped %(n)s times)", routing.skips)
        reason = text % {"reason": Skip.Reason(routing.reason).label, "n": routing.skips}
    if routing.state == skip_routing.RETIRED:
        items.retire(item=item, actor=None, reason=reason)
    elif item.state == Item.State.OPEN:
        items.restrict(item=item, actor=None, reason=reason)
