"""A way back for a lost password: a link with which a person sets a new one, made by the lead of their projects."""

from __future__ import annotations

from django.contrib.auth.tokens import default_token_generator
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from annotation import audit
from annotation.actions.members import MemberError
from annotation.models import Member, User


def create_reset_path(*, member: Member, actor: User) -> str:
    """The path of a page on which the member sets a new password. It ends with the first use, the next sign-in, or after
    `PASSWORD_RESET_TIMEOUT`.

    Raises:
        MemberError: the account can do more than what the actor leads: whoever sets its password could sign in to it.
    """
    user = member.user
    led = Member.objects.filter(user=actor, role=Member.Role.LEAD).values("project")
    if user.is_staff or user.is_superuser:
        raise MemberError(
            "member", f"{user} is staff: only an administrator may set a new password for them."
        )
    if user.memberships.exclude(project__in=led).exists():
        raise MemberError(
            "member",
            f"{user} is in projects that you do not lead: ask an administrator to set a new password for them.",
        )
    audit.record("member.password", project=member.project, actor=actor, subject=user.pseudonym, user=user.pk)
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return reverse("password_reset_confirm", args=[uid, default_token_generator.make_token(user)])
