"""Pausing several members at once, lifting their pauses, and taking that back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.db import transaction

from annotation import audit
from annotation.actions import notifications, rules
from annotation.actions.bulk import Change
from annotation.models import Member, Notification, Project, User

FIELDS = ("paused_at", "paused_reason", "warned_at", "warning", "qualified_at")


def pause(*, project: Project, ids: Collection[int], actor: User, reason: str) -> list[Change]:
    """Give members no more items, as `rules.pause` does each; those who are paused already stay as they are.

    Raises:
        RuleError: there is no reason, or it is too long.
    """
    return _change(project, ids, lambda member: rules.pause(member=member, reason=reason, actor=actor))


def resume(*, project: Project, ids: Collection[int], actor: User, reason: str) -> list[Change]:
    """Lift pauses and warnings, as `rules.resume` does each."""
    del reason
    return _change(project, ids, lambda member: rules.resume(member=member, actor=actor))


@transaction.atomic
def undo(*, project: Project, changes: list[Change], actor: User) -> int:
    """Put members back as they were before, and tell them; those whose pause or warning somebody has changed since stay.
    Returns how many it put back."""
    by_id = {change["id"]: change for change in changes}
    unchanged = [m for m in _locked(project, list(by_id)) if _state(m) == by_id[m.pk]["after"]]
    for member in unchanged:
        for name, value in by_id[member.pk]["before"].items():
            setattr(member, name, value)
        member.save(update_fields=FIELDS)
        paused = member.paused_at is not None
        audit.record(
            "member.paused" if paused else "member.resumed",
            project=project,
            actor=actor,
            subject=member.user.pseudonym,
            user=member.user_id,
            reason=member.paused_reason,
            undo=True,
        )
        kind = Notification.Kind.PAUSED if paused else Notification.Kind.RESUMED
        notifications.notify_member(member=member, kind=kind)
    return len(unchanged)


@transaction.atomic
def _change(project: Project, ids: Collection[int], act: Callable[[Member], object]) -> list[Change]:
    before = {member.pk: _state(member) for member in _locked(project, ids)}
    for member in _locked(project, ids):
        act(member)
    after = {member.pk: _state(member) for member in _locked(project, ids)}
    return [{"id": pk, "before": before[pk], "after": after[pk]} for pk in before if before[pk] != after[pk]]


def _locked(project: Project, ids: Collection[int]) -> list[Member]:
    members = Member.objects.filter(project=project, pk__in=ids).select_related("user", "project")
    return list(members.select_for_update(of=("self",)).order_by("pk"))


def _state(member: Member) -> dict[str, Any]:
    return {name: getattr(member, name) for name in FIELDS}
