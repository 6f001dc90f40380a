"""Reviewers' decisions: verdicts, gold items, retiring and reopening items, and flags for review."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotation import audit
from annotation.actions import items as queue
from annotation.logic.limits import MAX_REVIEW_NOTE_CHARS
from annotation.logic.ranking import dense
from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import format_number
from annotation.models import Item, Judgment, ReviewFlag, Skip, Slot, Turn, User, Verdict


class ReviewError(Exception):
    """Why a decision is refused, in a sentence for the reviewer; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@transaction.atomic
def give_verdict(
    *, item: Item, reviewer: User, ranks: Mapping[int, int], degree: str | None = None, note: str = ""
) -> Verdict:
    """Record a verdict on an item. Judgments stay; the item's open skips and flags are resolved.

    Raises:
        ReviewError: a rank is missing or unknown, or an item of two lacks its degree.
    """
    locked = _locked(item)
    checked = _checked_ranks(locked, ranks)
    if len(checked) == 2 and degree not in Judgment.Degree.values:
        raise ReviewError("degree", _("Say how much better the preferred answer is."))
    verdict = Verdict.objects.create(
        item=locked,
        reviewer=reviewer,
        ranks=checked,
        degree=degree if len(checked) == 2 else None,
        note=checked_text("note", note),
    )
    resolve_all([locked])
    audit.record(
        "verdict.given",
        project=locked.project,
        actor=reviewer,
        subject=f"item {locked.pk}",
        item=locked.pk,
        ranks=checked,
        degree=verdict.degree or "",
    )
    return verdict


@transaction.atomic
def make_gold(*, item: Item, actor: User, ranks: Mapping[int, int], explanation: str) -> None:
    """Set an item's known answer. It needs no more judgments; it is given to annotators to measure their accuracy.

    Raises:
        ReviewError: a rank is missing or unknown, all answers are tied, there is no explanation, or the prompt is a message of a
            live chat, which gold would show to everybody.
    """
    locked = _locked(item)
    if Turn.objects.filter(prompt=locked.prompt_id).exists():
        raise ReviewError(
            "item", _("Nothing from a live chat can be gold: gold items are shown to everybody.")
        )
    checked = _checked_ranks(locked, ranks)
    explanation = checked_text("explanation", explanation)
    if len(set(checked.values())) == 1:
        raise ReviewError(
            "ranks", _("A known answer needs at least one response that is better than another.")
        )
    if not explanation:
        raise ReviewError("explanation", _("Say why this is the right answer: reviewers read it."))
    if locked.state != Item.State.OPEN:
        locked.state, locked.retired_reason = Item.State.OPEN, ""
        locked.save(update_fields=["state", "retired_reason"])
    resolve_all([locked])
    queue.make_gold(
        item=locked,
        ranks={int(pk): rank for pk, rank in checked.items()},
        explanation=explanation,
        actor=actor,
    )


@transaction.atomic
def retire(*, item: Item, actor: User, reason: str) -> None:
    """Take an item out of the queue; its judgments stay. Retiring twice changes nothing.

    Raises:
        ReviewError: there is no reason.
    """
    retire_all(items=[_locked(item)], actor=actor, reason=reason)


@transaction.atomic
def retire_all(*, items: Sequence[Item], actor: User, reason: str) -> None:
    """`retire` for each of some items of one project, which are locked.

    Raises:
        ReviewError: there is no reason.
    """
    reason = checked_text("reason", reason)
    if not reason:
        raise ReviewError("reason", _("Say why nobody should judge this item any more."))
    queue.retire_all(items=items, actor=actor, reason=reason)
    resolve_all(items)


@transaction.atomic
def reopen(*, item: Item, actor: User) -> None:
    """Put an item back into the queue for everybody. A known answer is deleted; judgments made while the item was gold do not
    count towards its overlap. An item of a live chat goes back to its annotator alone.

    Raises:
        ReviewError: its message was taken back.
    """
    locked = _locked(item)
    if Turn.objects.filter(item=locked, state=Turn.State.DROPPED).exists():
        sentence = _(
            "The message of this live chat was taken back, and nobody can judge its answers any more."
        )
        raise ReviewError("item", sentence)
    if locked.gold is not None:
        locked.gold, locked.gold_explanation = None, ""
        # not open, so that `reopen` fills its slots
        locked.state = Item.State.RESTRICTED
        locked.save(update_fields=["gold", "gold_explanation", "state"])
        locked.slots.filter(state=Slot.State.LEASED, gold=True).delete()
    queue.reopen(item=locked, actor=actor)
    resolve_all([locked])


@transaction.atomic
def dismiss(*, item: Item) -> int:
    """Resolve an item's open skips and flags without a verdict. Returns how many there were."""
    return resolve_all([_locked(item)])


def flag_for_review(*, judgments: Iterable[int], reason: ReviewFlag.Reason) -> int:
    """Flag judgments, by their ids, for a reviewer. Superseded judgments are left out, and so are those already flagged for
    this reason, resolved or not. Returns how many are new."""
    unflagged = Judgment.objects.current().filter(pk__in=list(judgments)).exclude(review_flags__reason=reason)
    flags = [ReviewFlag(judgment=judgment, reason=reason) for judgment in unflagged.order_by("pk")]
    ReviewFlag.objects.bulk_create(flags, ignore_conflicts=True)
    return len(flags)


def _locked(item: Item) -> Item:
    return Item.objects.select_for_update(no_key=True, of=("self",)).select_related("project").get(pk=item.pk)


def _checked_ranks(item: Item, ranks: Mapping[int, int]) -> dict[str, int]:
    """The ranks without gaps, by response id as a string, as they are stored."""
    responses = sorted(item.responses.values_list("pk", flat=True))
    if len(responses) < 2:
        raise ReviewError("ranks", _("There is nothing to rank in this item."))
    if set(ranks) != set(responses):
        raise ReviewError(
            "ranks", _("Every answer needs a rank, and only the answers of this item have one.")
        )
    if any(not 1 <= rank <= len(responses) for rank in ranks.values()):
        raise ReviewError("ranks", _("A rank is a number from 1 to %(most)s.") % {"most": len(responses)})
    dense_ranks = dense([ranks[response] for response in responses])
    return {str(response): rank for response, rank in zip(responses, dense_ranks, strict=True)}


_NAMED = {
    "note": gettext_lazy("The note"),
    "explanation": gettext_lazy("The explanation"),
    "reason": gettext_lazy("The reason"),
}


def checked_text(field: str, text: str) -> str:
    """A note, an explanation or a reason, stripped.

    Raises:
        ReviewError: it is too long, or cannot be stored.
    """
    if problem := storage_problem(text):
        raise ReviewError(field, _("%(field)s %(problem)s.") % {"field": _NAMED[field], "problem": problem})
    if len(text) > MAX_REVIEW_NOTE_CHARS:
        raise ReviewError(
            field,
            _("%(field)s may have at most %(most)s characters.")
            % {"field": _NAMED[field], "most": format_number(MAX_REVIEW_NOTE_CHARS)},
        )
    return text.strip()


def resolve_all(items: Sequence[Item]) -> int:
    """Resolve the open skips and flags of items. Returns how many there were."""
    now = timezone.now()
    skips = Skip.objects.filter(item__in=items, resolved_at=None).update(resolved_at=now)
    flags = ReviewFlag.objects.filter(judgment__item__in=items, resolved_at=None)
    return skips + flags.update(resolved_at=now)
