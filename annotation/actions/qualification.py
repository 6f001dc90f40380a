"""The qualification: until somebody has judged enough gold items, and well enough, they get nothing else."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from annotation import audit, events
from annotation.logic.agreement import gold_pairs
from annotation.models import Item, Judgment, Member, Project, Skip, Slot, User


def wants_more(*, project: Project, user: User) -> bool:
    """Whether they were given fewer gold items than the qualification has."""
    given = Slot.objects.filter(project=project, annotator=user, item__gold__isnull=False)
    # one that was taken from annotators while they held it is not given to them again
    slots = given.exclude(state=Slot.State.LEASED, restricted=True).count()
    skips = Skip.objects.filter(item__project=project, item__gold__isnull=False, annotator=user).count()
    return slots + skips < project.qualification_items


@transaction.atomic
def settle(*, project_id: int, user_id: int, nothing_left: bool = False) -> bool | None:
    """Let a member pass or fail, once they have dealt with every item of their qualification: True where they passed,
    False where they did not and are paused; None while it goes on, or where nobody waits for it.

    Of each gold item the share of its known pairs that they ordered the same way counts; a skipped one counts nothing.

    Args:
        nothing_left: there is no item for them any more, so what they have done is all of it.
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
    dealt_with, needed = _dealt_with(member), _there_are(member)
    if nothing_left and not _holds_one(member):
        needed = min(needed, dealt_with)
    if needed == 0 or dealt_with < needed:
        return None
    judgments = (
        Judgment.objects.current()
        .filter(item__project=project, item__gold__isnull=False, annotator=user_id)
        .select_related("item")
        .prefetch_related("placements")
        .order_by("id")[: project.qualification_items]
    )
    accuracy = sum(_share_right(judgment) for judgment in judgments) / max(needed, len(judgments))
    passed = accuracy >= project.qualification_accuracy
    if passed:
        member.qualified_at = timezone.now()
    else:
        member.paused_at = timezone.now()
        member.paused_reason = (
            f"The qualification asks for {project.qualification_accuracy:.0%} of what is known to be right; "
            f"you had {accuracy:.0%}. Ask the project's lead."
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


def is_behind(member: Member) -> bool:
    """Whether a member has dealt with every item of their qualification, whatever came of it."""
    return 0 < _there_are(member) <= _dealt_with(member)


def _dealt_with(member: Member) -> int:
    """How many gold items they judged or skipped."""
    theirs = {
        "item__project": member.project_id,
        "item__gold__isnull": False,
        "annotator": member.user_id,
    }
    return Judgment.objects.current().filter(**theirs).count() + Skip.objects.filter(**theirs).count()


def _there_are(member: Member) -> int:
    """How many gold items their qualification has: of those that annotators get, and those they have dealt with."""
    said = Judgment.objects.filter(item=OuterRef("pk"), annotator=member.user_id)
    skipped = Skip.objects.filter(item=OuterRef("pk"), annotator=member.user_id)
    golds = Item.objects.filter(project=member.project_id, gold__isnull=False)
    theirs = golds.filter(Q(state=Item.State.OPEN) | Exists(said) | Exists(skipped))
    return min(member.project.qualification_items, theirs.count())


def _holds_one(member: Member) -> bool:
    """Whether a gold item is in their hands, to be dealt with."""
    held = Slot.objects.filter(project=member.project_id, annotator=member.user_id, state=Slot.State.LEASED)
    return held.filter(item__gold__isnull=False, restricted=False).exists()


def _share_right(judgment: Judgment) -> float:
    assert judgment.item.gold is not None
    gold = {int(response): rank for response, rank in judgment.item.gold.items()}
    ranks = {placement.response_id: placement.rank for placement in judgment.placements.all()}
    right, pairs = gold_pairs(gold, ranks)
    return right / pairs if pairs else 1.0
