"""A way back for a lost password: a link with which a person sets a new one, made by the lead of their projects."""

from __future__ import annotations

from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext as _

from annotation import audit
from annotation.actions.members import MemberError
from annotation.models import Judgment, Member, User


class ResetTokens(PasswordResetTokenGenerator):
    """Tokens that end as soon as the account can do something else than when they were made."""

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        roles = sorted(user.memberships.values_list("project", "role"))
        return f"{super()._make_hash_value(user, timestamp)}{user.is_staff}{user.is_superuser}{roles}"


def create_reset_path(*, member: Member, actor: User) -> str:
    """The path of a page on which the member sets a new password. It ends with the first use, the next sign-in or change of
    roles, or after `PASSWORD_RESET_TIMEOUT`.

    Raises:
        MemberError: the account can do more, or has done more, than judge in projects that the actor leads: whoever sets its
            password could sign in to it.
    """
    user = member.user
    if user == actor:
        raise MemberError("member", _("Change your own password by the menu with your name."))
    if not user.has_usable_password():
        sentence = _("%(user)s has no password: they sign in with %(name)s.")
        raise MemberError("member", sentence % {"user": user, "name": settings.OIDC_NAME})
    led = Member.objects.filter(user=actor, role=Member.Role.LEAD).values("project")
    if user.is_staff or user.is_superuser or user.memberships.filter(role=Member.Role.LEAD).exists():
        sentence = _("%(user)s is a lead or staff: an administrator sets a new password for them.")
        raise MemberError("member", sentence % {"user": user})
    elsewhere = user.memberships.exclude(project__in=led)
    judged = Judgment.objects.filter(~Q(item__project__in=led), annotator=user)
    if elsewhere.exists() or judged.exists():
        sentence = _(
            "%(user)s works in projects that you do not lead: an administrator sets a new password for them."
        )
        raise MemberError("member", sentence % {"user": user})
    audit.record("member.password", project=member.project, actor=actor, subject=user.pseudonym, user=user.pk)
    return reset_path(user)


def reset_path(user: User) -> str:
    """The path of the page, without any check."""
    return reverse(
        "account_reset_password_from_key", args=[user_pk_to_url_str(user), ResetTokens().make_token(user)]
    )
