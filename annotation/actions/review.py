"""What reviewers decide: verdicts, which items stay in the queue, and which have a known answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import transaction
from django.utils import timezone

from annotation import audit
from annotation.actions import items
from annotation.logic.limits import MAX_REVIEW_NOTE_CHARS
from annotation.logic.ranking import dense
from annotation.logic.storable_text import storage_problem
from annotation.models import Item, Judgment, ReviewFlag, Skip, Slot, User, Verdict


class ReviewError(Exception):
    """What cannot be done with an item, in a sentence for the reviewer; `field` names what to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@transaction.atomic
def give_verdict(
    *, item: Item, reviewer: User, ranks: Mapping[int, int], degree: str | None = None, note: str = ""
) -> Verdict:
    """Decide an item on which people differ. What they said stays; what was left to a reviewer is answered.

    Raises:
        ReviewError: a rank is missing or unknown, or an item of two lacks its degree.
    """
    locked = _locked(item)
    found = _checked(locked, ranks)
    if len(found) == 2 and degree not in Judgment.Degree.values:
        raise ReviewError("degree", "Say how much better the preferred answer is.")
    verdict = Verdict.objects.create(
        item=locked,
        reviewer=reviewer,
        ranks=found,
        degree=degree if len(found) == 2 else None,
        note=_text("note", note),
    )
    _resolve(locked)
    audit.record(
        "verdict.given",
        project=locked.project,
        actor=reviewer,
        subject=f"item {locked.pk}",
        item=locked.pk,
        ranks=found,
        degree=verdict.degree or "",
    )
    return verdict


@transaction.atomic
def make_gold(*, item: Item, actor: User, ranks: Mapping[int, int], explanation: str) -> None:
    """Give an item its known answer. Nobody waits for it any more: it is given to people to see how well they judge.

    Raises:
        ReviewError: a rank is missing or unknown, all answers are tied, or there is no explanation.
    """
    locked = _locked(item)
    found = _checked(locked, ranks)
    explanation = _text("explanation", explanation)
    if len(set(found.values())) == 1:
        raise ReviewError("ranks", "A known answer needs one that is better than another.")
    if not explanation:
        raise ReviewError("explanation", "Say why this is the right answer: reviewers read it.")
    if locked.state != Item.State.OPEN:
        locked.state, locked.retired_reason = Item.State.OPEN, ""
        locked.save(update_fields=["state", "retired_reason"])
    _resolve(locked)
    items.make_gold(
        item=locked, ranks={int(pk): rank for pk, rank in found.items()}, explanation=explanation, actor=actor
    )


@transaction.atomic
def retire(*, item: Item, actor: User, reason: str) -> None:
    """Take an item out of the queue for good; the judgments it has stay. Twice is once.

    Raises:
        ReviewError: there is no reason.
    """
    locked = _locked(item)
    reason = _text("reason", reason)
    if not reason:
        raise ReviewError("reason", "Say why nobody should judge this item any more.")
    items.retire(item=locked, actor=actor, reason=reason)
    _resolve(locked)


@transaction.atomic
def reopen(*, item: Item, actor: User) -> None:
    """Put an item back into the queue for everybody; a known answer is forgotten, and what was judged to see who knows it
    is none of the judgments that the item waits for."""
    locked = _locked(item)
    if locked.gold is not None:
        locked.gold, locked.gold_explanation = None, ""
        # not open for the moment, so that it is filled again
        locked.state = Item.State.RESTRICTED
        locked.save(update_fields=["gold", "gold_explanation", "state"])
        locked.slots.filter(state=Slot.State.LEASED, gold=True).delete()
    items.reopen(item=locked, actor=actor)
    _resolve(locked)


@transaction.atomic
def dismiss(*, item: Item) -> int:
    """Answer what people, or reward models, sent to a reviewer about an item without changing it. Returns how many there
    were."""
    return _resolve(_locked(item))


def flag_for_review(*, judgments: Iterable[int], reason: ReviewFlag.Reason) -> int:
    """Have a reviewer look at judgments, by their ids, for a reason that no person gave. What a later revision replaced is
    left out, and so are those already flagged for this reason, answered or not. Returns how many were new."""
    standing = Judgment.objects.current().filter(pk__in=list(judgments)).exclude(review_flags__reason=reason)
    found = [ReviewFlag(judgment=judgment, reason=reason) for judgment in standing]
    ReviewFlag.objects.bulk_create(found, ignore_conflicts=True)
    return len(found)


def _locked(item: Item) -> Item:
    return Item.objects.select_for_update(no_key=True, of=("self",)).select_related("project").get(pk=item.pk)


def _checked(item: Item, ranks: Mapping[int, int]) -> dict[str, int]:
    """The ranks without gaps, as the database keeps them."""
    wanted = sorted(item.responses.values_list("pk", flat=True))
    if len(wanted) < 2:
        raise ReviewError("ranks", "There is nothing to rank in this item.")
    if set(ranks) != set(wanted):
        raise ReviewError("ranks", "Every answer needs a rank, and only the answers of this item have one.")
    if any(not 1 <= rank <= len(wanted) for rank in ranks.values()):
        raise ReviewError("ranks", f"A rank is a number from 1 to {len(wanted)}.")
    places = dense([ranks[response] for response in wanted])
    return {str(response): place for response, place in zip(wanted, places, strict=True)}


def _text(field: str, text: str) -> str:
    if problem := storage_problem(text):
        raise ReviewError(field, f"The {field} {problem}.")
    if len(text) > MAX_REVIEW_NOTE_CHARS:
        raise ReviewError(field, f"The {field} may have at most {MAX_REVIEW_NOTE_CHARS:,} characters.")
    return text.strip()


def _resolve(item: Item) -> int:
    now = timezone.now()
    skips = Skip.objects.filter(item=item, resolved_at=None).update(resolved_at=now)
    return skips + ReviewFlag.objects.filter(judgment__item=item, resolved_at=None).update(resolved_at=now)
