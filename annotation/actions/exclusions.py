"""Excluding somebody's judgments: they stay, but do not count in snapshots, training data and rounds."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from annotation import audit
from annotation.logic.limits import MAX_REASON_CHARS
from annotation.logic.storable_text import storage_problem
from annotation.models import Exclusion, Project, User


class ExclusionError(Exception):
    """The reason is missing or too long."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@transaction.atomic
def exclude(*, project: Project, user: User, reason: str, actor: User) -> Exclusion:
    """Exclude all judgments of a user in a project, those that are still to come among them. Where they are excluded already,
    that stays as it is.

    Raises:
        ExclusionError: there is no reason, or it is too long.
    """
    reason = reason.strip()
    if not reason or storage_problem(reason):
        raise ExclusionError("reason", _("Say why: the reason is kept."))
    if len(reason) > MAX_REASON_CHARS:
        text = _("The reason may have at most %(n)s characters.") % {"n": MAX_REASON_CHARS}
        raise ExclusionError("reason", text)
    exclusion, created = Exclusion.objects.get_or_create(
        project=project, user=user, defaults={"reason": reason, "created_by": actor}
    )
    if created:
        _record("judgments.excluded", exclusion, actor)
    return exclusion


@transaction.atomic
def include(*, project: Project, user: User, actor: User) -> None:
    """Count the judgments of a user again, from the next snapshot on. Nothing changes where they do."""
    exclusion = Exclusion.objects.select_for_update().filter(project=project, user=user).first()
    if exclusion:
        _record("judgments.included", exclusion, actor)
        exclusion.delete()


def _record(verb: str, exclusion: Exclusion, actor: User) -> None:
    audit.record(
        verb,
        project=exclusion.project,
        actor=actor,
        subject=exclusion.user.pseudonym,
        user=exclusion.user_id,
        reason=exclusion.reason,
    )
