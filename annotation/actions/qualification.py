"""The qualification: until somebody has judged enough gold items, and well enough, they get nothing else."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from annotation import audit, events
from annotation.logic.agreement import gold_pairs
from annotation.models import Item, Judgment, Member, Project, Skip, Slot, User


def wants_more(*, project: Project, user: User) -> bool:
    """Whether they were given fewer gold items than the qualification has."""
    slots = Slot.objects.filter(project=project, annotator=user, gold=True).count()
    skips = Skip.objects.filter(item__project=project, item__gold__isnull=False, annotator=user).count()
    return slots + skips < project.qualification_items


@transaction.atomic
def settle(*, project_id: int, user_id: int) -> bool | None:
    """Let a member pass or fail, once they have dealt with every item of their qualification: True where they passed,
    False where they did not and are paused; None while it goes on, or where nobody waits for it.

    Of each gold item the share of its known pairs that they ordered the same way counts; a skipped one counts nothing.
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
    theirs = Q(project=project, gold__isnull=False)
    there_are = Item.objects.filter(theirs).exclude(state=Item.State.RETIRED).count()
    needed = min(project.qualification_items, there_are)
    judgments = list(
        Judgment.objects.current()
        .filter(item__project=project, item__gold__isnull=False, annotator=user_id)
        .select_related("item")
        .prefetch_related("placements")
        .order_by("id")[: project.qualification_items]
    )
    skipped = Skip.objects.filter(item__project=project, item__gold__isnull=False, annotator=user_id).count()
    if needed == 0 or len(judgments) + skipped < needed:
        return None
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
        subject=member.user.username,
        accuracy=round(accuracy, 3),
        of=needed,
    )
    events.announce(events.project_group(project.pk), {"kind": "member"})
    return passed


def _share_right(judgment: Judgment) -> float:
    assert judgment.item.gold is not None
    gold = {int(response): rank for response, rank in judgment.item.gold.items()}
    ranks = {placement.response_id: placement.rank for placement in judgment.placements.all()}
    right, pairs = gold_pairs(gold, ranks)
    return right / pairs if pairs else 1.0
