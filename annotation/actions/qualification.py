"""The qualification: annotators get gold items only until they have judged enough of them well enough."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from annotation import audit, events
from annotation.logic.agreement import gold_pairs
from annotation.models import Item, Judgment, Member, Project, Skip, Slot, User


def needs_more_items(*, project: Project, user: User) -> bool:
    """Whether the annotator has received fewer gold items than the qualification has."""
    received = Slot.objects.filter(project=project, annotator=user, item__gold__isnull=False)
    # an item that was restricted while they held it does not come back to them
    slots = received.exclude(state=Slot.State.LEASED, restricted=True).count()
    skips = Skip.objects.filter(item__project=project, item__gold__isnull=False, annotator=user).count()
    return slots + skips < project.qualification_items


@transaction.atomic
def decide(*, project_id: int, user_id: int, no_items_left: bool = False) -> bool | None:
    """Let a member pass or fail once they have judged or skipped every item of their qualification: True if they passed,
    False if they failed and are paused; None while it is unfinished, or if they need none.

    The accuracy is the mean over the items of the share of known pairs that they ordered correctly; a skipped item is 0.

    Args:
        no_items_left: there are no more items for them, so the qualification is as long as what they have done.
    """
    member = (
        Member.objects.select_for_update(of=("self",))
        .select_related("project", "user")
        .filter(
            project_id=project_id,
            user_id=user_id,
            role=Member.Role.ANNOTATOR,
            qualified_at=None,
            paused_at=None,
            project__qualification_items__gt=0,
        )
        .first()
    )
    if member is None:
        return None
    project = member.project
    finished, needed = _finished_items(member), _required_items(member)
    if no_items_left and not _has_leased_item(member):
        needed = min(needed, finished)
    if needed == 0 or finished < needed:
        return None
    judgments = (
        Judgment.objects.current()
        .filter(item__project=project, item__gold__isnull=False, annotator=user_id)
        .select_related("item")
        .prefetch_related("placements")
        .order_by("id")[: project.qualification_items]
    )
    accuracy = sum(_accuracy(judgment) for judgment in judgments) / max(needed, len(judgments))
    passed = accuracy >= project.qualification_accuracy
    if passed:
        member.qualified_at = timezone.now()
    else:
        member.paused_at = timezone.now()
        member.paused_reason = (
            f"The qualification needs an accuracy of {project.qualification_accuracy:.0%}; "
            f"yours was {accuracy:.0%}. Ask the project's lead."
        )
    member.save(update_fields=["qualified_at", "paused_at", "paused_reason"])
    audit.record(
        "member.qualified" if passed else "member.paused",
        project=project,
        actor=None,
        subject=member.user.pseudonym,
        user=user_id,
        accuracy=round(accuracy, 3),
        of=needed,
    )
    events.announce(events.project_group(project.pk), {"kind": "member"})
    return passed


def is_finished(member: Member) -> bool:
    """Whether a member has judged or skipped every item of their qualification, passed or not."""
    return 0 < _required_items(member) <= _finished_items(member)


def _finished_items(member: Member) -> int:
    """How many gold items they judged or skipped."""
    by_member = {
        "item__project": member.project_id,
        "item__gold__isnull": False,
        "annotator": member.user_id,
    }
    return Judgment.objects.current().filter(**by_member).count() + Skip.objects.filter(**by_member).count()


def _required_items(member: Member) -> int:
    """How many items their qualification has: gold items that annotators get, and those that they judged or skipped."""
    judged = Judgment.objects.filter(item=OuterRef("pk"), annotator=member.user_id)
    skipped = Skip.objects.filter(item=OuterRef("pk"), annotator=member.user_id)
    gold_items = Item.objects.filter(project=member.project_id, gold__isnull=False)
    available = gold_items.filter(Q(state=Item.State.OPEN) | Exists(judged) | Exists(skipped))
    return min(member.project.qualification_items, available.count())


def _has_leased_item(member: Member) -> bool:
    """Whether they hold a lease on a gold item."""
    leased = Slot.objects.filter(project=member.project_id, annotator=member.user_id, state=Slot.State.LEASED)
    return leased.filter(item__gold__isnull=False, restricted=False).exists()


def _accuracy(judgment: Judgment) -> float:
    """The share of the known pairs of a gold item that a judgment orders correctly."""
    assert judgment.item.gold is not None
    gold = {int(response): rank for response, rank in judgment.item.gold.items()}
    ranks = {placement.response_id: placement.rank for placement in judgment.placements.all()}
    right, pairs = gold_pairs(gold, ranks)
    return right / pairs if pairs else 1.0
