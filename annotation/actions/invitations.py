"""Invitations: links with which users join a project.

Whoever has a link may use it, so it has a limited number of places, expires, and can be revoked.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import audit, events
from annotation.actions.members import MemberError, check_username, join
from annotation.models import ApiToken, Invitation, Member, Project, User


class InvitationError(Exception):
    """Why an invitation cannot be used, in a sentence for the person who followed the link."""


@transaction.atomic
def invite(
    *, project: Project, creator: User, role: str, places: int = 1, days: int = 7, note: str = ""
) -> tuple[Invitation, str]:
    """Create an invitation. Returns it with the key of its link, which is not stored."""
    key = secrets.token_urlsafe(24)
    invitation = Invitation.objects.create(
        project=project,
        role=role,
        digest=ApiToken.digest_of(key),
        note=note,
        places=places,
        created_by=creator,
        expires_at=timezone.now() + timedelta(days=days),
    )
    audit.record(
        "invitation.made",
        project=project,
        actor=creator,
        subject=_subject(invitation),
        role=role,
        places=places,
        expires_at=invitation.expires_at,
    )
    return invitation, key


@transaction.atomic
def revoke(*, invitation: Invitation, actor: User) -> None:
    """Revoke an invitation; members who joined by it stay. Revoking twice changes nothing."""
    live = Invitation.objects.filter(pk=invitation.pk, revoked_at=None)
    if live.update(revoked_at=timezone.now()):
        audit.record(
            "invitation.revoked", project=invitation.project, actor=actor, subject=_subject(invitation)
        )


def find(key: str) -> Invitation | None:
    """The invitation of a link, usable or not."""
    invitations = Invitation.objects.select_related("project", "created_by")
    return invitations.filter(digest=ApiToken.digest_of(key)).first()


def check(invitation: Invitation) -> None:
    """Check that an invitation can be used.

    Raises:
        InvitationError: it was revoked, has expired, or all its places are taken.
    """
    if invitation.revoked_at is not None:
        raise InvitationError(_("This invitation was revoked."))
    if invitation.expires_at <= timezone.now():
        raise InvitationError(_("This invitation has expired."))
    if invitation.used >= invitation.places:
        raise InvitationError(_("All places of this invitation are taken."))


@transaction.atomic
def accept(*, invitation: Invitation, user: User) -> Member:
    """Add the user to the project. An existing member keeps their role and takes no place.

    Raises:
        InvitationError: the invitation cannot be used any more.
    """
    # locked: the last place goes to one of two who come at once
    rows = Invitation.objects.select_for_update(of=("self",)).select_related("project")
    locked = rows.get(pk=invitation.pk)
    existing = Member.objects.filter(project=locked.project, user=user).first()
    if existing:
        return existing
    check(locked)
    member, added = join(project=locked.project, user=user, role=locked.role)
    if added:  # not by a lead at the same moment
        locked.used += 1
        locked.save(update_fields=["used"])
        audit.record(
            "member.joined",
            project=locked.project,
            actor=user,
            subject=user.pseudonym,
            user=user.pk,
            role=locked.role,
            invitation=locked.pk,
        )
        events.announce(events.project_group(locked.project_id), {"kind": "member"})
    return member


def sign_up(*, invitation: Invitation, username: str, password: str) -> Member:
    """Create an account and add it to the project, in one transaction.

    Raises:
        InvitationError: the invitation cannot be used any more.
        MemberError: the name is taken, too long, or has characters that are not allowed.
    """
    check_username(username)
    try:
        with transaction.atomic():
            user = User.objects.create_user(username=username, password=password)
            return accept(invitation=invitation, user=user)
    except IntegrityError:
        sentence = _("The name %(name)r is taken. Choose another.") % {"name": username}
        raise MemberError("username", sentence) from None


def _subject(invitation: Invitation) -> str:
    """The subject of audit entries, without the note, which may name people."""
    places = "1 place" if invitation.places == 1 else f"{invitation.places} places"
    return f"As {invitation.role}, {places}"
