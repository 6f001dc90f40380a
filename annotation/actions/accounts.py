"""Erasing accounts: personal data is deleted, judgments stay under the pseudonym."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import audit
from annotation.actions import chats, items, notifications
from annotation.actions.batches import leave_batches
from annotation.actions.erasures import request_erasure
from annotation.actions.members import ERASED, MemberError, require_other_lead
from annotation.actions.sessions import end_sessions
from annotation.models import (
    AuditEntry,
    Chat,
    Draft,
    Invitation,
    Item,
    Member,
    Slot,
    User,
)


class AccountError(Exception):
    """Why an account cannot be erased, in a sentence."""


def erase(*, user: User, actor: User) -> None:
    """Erase an account: at once its name, password, memberships, tokens, sessions, drafts and open chats, and by a worker
    (`erasures`) the reasons, notes and messages that its owner wrote, in chats too, or that others wrote to them. Its judgments
    stay, without an owner.

    Raises:
        AccountError: the user is a project's only lead or the site's only administrator, or is an administrator and the
            actor is not; or the account was erased before.
    """
    pseudonym = user.pseudonym
    with transaction.atomic():
        _end_chats(user)  # before the account is locked, for which a choice in one of them may wait
        user = _locked(user)
        if user.erased_at is not None:
            raise AccountError(_("This account was erased before."))
        _require_other_administrator(user, actor)
        _leave_projects(user)
        _end_chats(user)
        _delete_personal_data(user)
        request_erasure(user=user, actor=actor)
        audit.record("account.erased", project=None, actor=actor, subject=pseudonym, user=user.pk)
    end_sessions(user)


def _locked(user: User) -> User:
    """The account, locked together with those of all administrators: two of them may leave at the same moment."""
    rows = User.objects.select_for_update().filter(Q(pk=user.pk) | Q(is_superuser=True)).order_by("pk")
    return next(row for row in rows if row.pk == user.pk)


def _require_other_administrator(user: User, actor: User) -> None:
    """Refuse to erase an administrator's account for others, or the last one.

    Raises:
        AccountError
    """
    if not user.is_superuser:
        return
    if user.pk != actor.pk and not actor.is_superuser:
        raise AccountError(_("Only another administrator may erase an administrator's account."))
    if not User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk).exists():
        sentence = _("%(name)s is the only administrator. Make somebody else one first.")
        raise AccountError(sentence % {"name": user.username})


def _leave_projects(user: User) -> None:
    """Delete the user's memberships.

    Raises:
        AccountError: a project would be left without a lead.
    """
    for member in Member.objects.filter(user=user).select_related("project"):
        try:
            require_other_lead(member, leaves_lead=member.role == Member.Role.LEAD)
        except MemberError:
            sentence = _("%(name)s is the only lead of %(project)s. Make somebody else a lead of it first.")
            values = {"name": user.username, "project": member.project}
            raise AccountError(sentence % values) from None
        leave_batches(user=user, project=member.project)
        member.delete()


def _delete_personal_data(user: User) -> None:
    user.api_tokens.all().delete()
    joined = AuditEntry.objects.filter(verb="member.joined", data__user=user.pk)
    # the note of an invitation may name the person it was for
    Invitation.objects.filter(pk__in=list(joined.values_list("data__invitation", flat=True))).update(note="")
    for personal in (EmailAddress, SocialAccount, Authenticator):
        personal.objects.filter(user=user).delete()
    Draft.objects.filter(annotator=user).delete()
    user.saved_views.all().delete()
    user.notifications.all().delete()
    notifications.forget_person(user)
    Slot.objects.filter(annotator=user).release()
    kind = ContentType.objects.get_for_model(User)
    LogEntry.objects.filter(content_type=kind, object_id=str(user.pk)).delete()
    user.groups.clear()
    user.user_permissions.clear()
    user.username = ERASED + user.pseudonym
    user.first_name = user.last_name = user.email = user.time_zone = user.language = ""
    user.is_active = user.is_staff = user.is_superuser = False
    user.last_login = None
    user.set_unusable_password()
    user.erased_at = timezone.now()
    user.save()


def _end_chats(user: User) -> None:
    """End the user's chats. Nobody judges their messages any more."""
    for chat in Chat.objects.filter(annotator=user, ended_at=None):
        chats.end(chat=chat)
    waiting = Item.objects.filter(prompt__turn__chat__annotator=user).exclude(state=Item.State.RETIRED)
    for item in waiting.filter(
        Exists(Slot.objects.filter(item=OuterRef("pk")).exclude(state=Slot.State.DONE))
    ):
        items.retire(item=item, actor=None, reason="its prompt was erased")
