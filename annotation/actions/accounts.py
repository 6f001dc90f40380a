"""Erasing accounts: personal data is deleted, judgments stay under the pseudonym."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import audit
from annotation.actions import chats, items
from annotation.actions.batches import leave_batches
from annotation.actions.members import ERASED, MemberError, require_other_lead
from annotation.actions.sessions import end_sessions
from annotation.logic.erased_text import erase_messages
from annotation.models import (
    AuditEntry,
    Chat,
    Draft,
    Invitation,
    Item,
    Judgment,
    Member,
    Message,
    Placement,
    Prompt,
    Skip,
    Slot,
    User,
    Verdict,
)


class AccountError(Exception):
    """Why an account cannot be erased, in a sentence."""


def erase(*, user: User, actor: User) -> None:
    """Erase an account: its name, password, memberships, tokens, sessions and drafts, and the reasons, notes and messages that
    its owner wrote, in live chats too, or that others wrote to them. Its judgments stay, without an owner.

    Raises:
        AccountError: the user is a project's only lead or the site's only administrator, or is an administrator and the
            actor is not; or the account was erased before.
    """
    pseudonym = user.pseudonym
    with transaction.atomic():
        user = _locked(user)
        if user.erased_at is not None:
            raise AccountError(_("This account was erased before."))
        _require_other_administrator(user, actor)
        _leave_projects(user)
        _erase_chats(user)
        _delete_personal_data(user)
        _blank_free_text(user)
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
    user.notifications.all().delete()
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


def _blank_free_text(user: User) -> None:
    """Blank what was written freely, which may name anybody. Snapshots and files that were exported before keep it.

    The tables are append-only; within this transaction they let these columns be blanked, and nothing else.
    """
    for skip in Skip.objects.filter(annotator=user):
        data = _without_free_text(skip.data or {})
        Skip.objects.filter(pk=skip.pk).update(note="", data=data or None)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL palate.erase = 'on'")
        written = Judgment.objects.filter(annotator=user).exclude(rationale="", answers={})
        written.update(rationale="", answers={})
        Placement.objects.filter(judgment__annotator=user).exclude(comments=[]).update(comments=[])
        Verdict.objects.filter(reviewer=user).exclude(note="").update(note="")
        Message.objects.filter(Q(author=user) | Q(annotator=user)).exclude(text="").update(text="")
        cursor.execute(
            """UPDATE annotation_auditentry SET data = data || '{"reason": ""}'
               WHERE data ? 'reason' AND (data -> 'user' = to_jsonb(%(user)s::bigint) OR actor_id = %(user)s)""",
            {"user": user.pk},
        )
        cursor.execute("SET LOCAL palate.erase = 'off'")


def _erase_chats(user: User) -> None:
    """End the user's chats, and put a mark in place of what they wrote in them. Nobody judges these prompts any more."""
    for chat in Chat.objects.filter(annotator=user, ended_at=None):
        chats.end(chat=chat)
    written = Prompt.objects.filter(turn__chat__annotator=user).only("messages")
    for prompt in written.order_by("pk").iterator(chunk_size=200):
        prompt.messages = erase_messages(prompt.messages)
        prompt.save(update_fields=["messages"])
    waiting = Item.objects.filter(prompt__turn__chat__annotator=user).exclude(state=Item.State.RETIRED)
    for item in waiting.filter(
        Exists(Slot.objects.filter(item=OuterRef("pk")).exclude(state=Slot.State.DONE))
    ):
        items.retire(item=item, actor=None, reason="its prompt was erased")


def _without_free_text(data: Mapping[str, Any]) -> dict[str, Any]:
    """What was entered before a skip, without what was written."""
    data = {name: value for name, value in data.items() if name not in ("rationale", "text", "answers")}
    marks = data.get("marks")
    if isinstance(marks, dict):
        data["marks"] = {
            response: {name: value for name, value in mark.items() if name != "comments"}
            for response, mark in marks.items()
            if isinstance(mark, dict)
        }
    return data
