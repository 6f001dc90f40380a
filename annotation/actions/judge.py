"""Taking a judgment. Once this returns, it is in the database, once, and stays."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from annotation import events
from annotation.actions.queue import Lease
from annotation.logic.ranking import dense
from annotation.models import Draft, Guideline, Judgment, Placement, Slot

MAX_RATIONALE_CHARS = 10_000


class JudgmentError(Exception):
    """Why a judgment was not taken, in a sentence for the person who gave it; `field` names what to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class AlreadyJudged(JudgmentError):
    """The same person judged the same item before; that judgment stands."""


def submit(
    *,
    lease: Lease,
    ranks: Mapping[int, int],
    idempotency_key: uuid.UUID,
    degree: str | None = None,
    rationale: str = "",
) -> Judgment:
    """Record what the lease's annotator said. Sending the same key again returns the judgment that was kept.

    Args:
        ranks: response id -> rank, for every response that was shown; 1 is best, equal ranks are ties.
        degree: of an item of two, where it must be given: how much better the preferred one is.

    A judgment that comes after its lease has run out takes a free slot of its item; where others have filled them all
    it is kept without one, and does not count towards the overlap.

    Raises:
        JudgmentError: it is incomplete or contradicts itself.
        AlreadyJudged: this annotator has judged this item before.
    """
    _check(lease, ranks, degree, rationale)
    try:
        with transaction.atomic():
            kept = _kept(lease, idempotency_key)
            if kept is not None:
                return kept
            judgment = Judgment.objects.create(
                item_id=lease.item_id,
                slot=_take_slot(lease),
                annotator_id=lease.annotator_id,
                guideline=Guideline.objects.filter(project_id=lease.project_id).order_by("-number").first(),
                degree=degree,
                shown_order=lease.shown_order,
                rationale=rationale.strip(),
                seconds=max(0.0, timezone.now().timestamp() - lease.opened_at),
                idempotency_key=idempotency_key,
            )
            places = dense([ranks[response] for response in lease.shown_order])
            Placement.objects.bulk_create(
                Placement(judgment=judgment, response_id=response, rank=rank)
                for response, rank in zip(lease.shown_order, places, strict=True)
            )
            Draft.objects.filter(item_id=lease.item_id, annotator_id=lease.annotator_id).delete()
            events.announce(events.project_group(lease.project_id), {"kind": "judgment"})
            return judgment
    except IntegrityError:
        # the same submit arrived twice at once, and the other one was first
        kept = _kept(lease, idempotency_key)
        if kept is None:
            raise
        return kept


def _check(lease: Lease, ranks: Mapping[int, int], degree: str | None, rationale: str) -> None:
    k = len(lease.shown_order)
    if unknown := set(ranks) - set(lease.shown_order):
        raise JudgmentError("ranks", f"Response {min(unknown)} does not stand in this item.")
    if missing := [position for position, r in enumerate(lease.shown_order) if r not in ranks]:
        letters = ", ".join("ABCDEFGHI"[position] for position in missing)
        raise JudgmentError("ranks", f"Every answer needs a rank; missing: {letters}.")
    if any(not 1 <= rank <= k for rank in ranks.values()):
        raise JudgmentError("ranks", f"A rank is a number from 1 to {k}.")
    if "\0" in rationale:
        raise JudgmentError("rationale", "The rationale holds a null byte.")
    if len(rationale) > MAX_RATIONALE_CHARS:
        raise JudgmentError("rationale", f"A rationale may have at most {MAX_RATIONALE_CHARS:,} characters.")
    if k > 2:
        if degree is not None:
            raise JudgmentError("degree", "A ranking has no degree.")
        return
    if degree not in Judgment.Degree.values:
        raise JudgmentError("degree", "Say how much better the preferred answer is.")
    if len(set(ranks.values())) == 1:
        raise JudgmentError(
            "ranks", "Choose one of the two: for a near tie there is “negligibly better / unsure”."
        )


def _kept(lease: Lease, key: uuid.UUID) -> Judgment | None:
    """The judgment of this very submit, if it was kept before.

    Raises:
        AlreadyJudged: there is one of this item, from another submit.
        JudgmentError: the key is that of a judgment of another item.
    """
    related = list(
        Judgment.objects.filter(
            Q(idempotency_key=key) | Q(item_id=lease.item_id), annotator_id=lease.annotator_id
        )
    )
    kept = next((judgment for judgment in related if judgment.idempotency_key == key), None)
    if kept is None and related:
        raise AlreadyJudged("item", "You have judged this item before, and that judgment stands.")
    if kept is not None and kept.item_id != lease.item_id:
        raise JudgmentError(
            "idempotency_key", "This key belongs to your judgment of another item: each needs its own."
        )
    return kept


def _take_slot(lease: Lease) -> Slot | None:
    """The slot that the annotator holds, or a free one of the same item, now done."""
    # after the lease ran out they may have taken another slot of the item: nobody can have two, so that one it is
    own = Q(item_id=lease.item_id, annotator_id=lease.annotator_id, state=Slot.State.LEASED)
    free = Q(item_id=lease.item_id) & (
        Q(state=Slot.State.OPEN) | Q(state=Slot.State.LEASED, leased_until__lt=timezone.now())
    )
    slot = Slot.objects.select_for_update().filter(own).first()
    slot = slot or Slot.objects.select_for_update(skip_locked=True).filter(free).first()
    if slot is not None:
        slot.state, slot.annotator_id = Slot.State.DONE, lease.annotator_id
        slot.shown_order = lease.shown_order
        slot.save(update_fields=["state", "annotator", "shown_order"])
    return slot
