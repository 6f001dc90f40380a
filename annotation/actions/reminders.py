"""Reminders: a lead tells members that items are waiting for them, nobody twice within half a day."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import audit
from annotation.actions import notifications
from annotation.models import Member, Notification, Project, User
from annotation.queries import with_items_left

REMIND_AGAIN_AFTER = timedelta(hours=12)
MAX_PEOPLE = 100
"""At once."""


class ReminderError(Exception):
    """Why nobody is reminded, in a sentence; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Recipient:
    """A member who may be reminded; `reminded_at` if that was done lately, `has_items` if something is left for them."""

    member: Member
    reminded_at: datetime | None
    has_items: bool

    @property
    def may_be_reminded(self) -> bool:
        return self.has_items and self.reminded_at is None and self.member.paused_at is None


@dataclass(frozen=True)
class Reminded:
    """Who was reminded, and who was not: they were reminded lately, are paused, or have nothing left to judge."""

    sent: list[Member]
    left_out: list[Member]


def recipients(project: Project, members: Collection[Member]) -> list[Recipient]:
    """Which of the members may be reminded now. Two queries."""
    users = [member.user_id for member in members]
    since = timezone.now() - REMIND_AGAIN_AFTER
    sent = Notification.objects.filter(
        project=project, kind=Notification.Kind.REMINDER, user__in=users, created_at__gt=since
    ).order_by("created_at")
    lately = dict(sent.values_list("user", "created_at"))
    able = with_items_left(project, users)
    return [Recipient(member, lately.get(member.user_id), member.user_id in able) for member in members]


@transaction.atomic
def remind(*, project: Project, users: Collection[int], actor: User) -> Reminded:
    """Remind members, by their users' ids, in the app and, where the site sends e-mails, in their next digest.

    Raises:
        ReminderError: nobody is chosen, too many are, somebody is no member, or none of them may be reminded now.
    """
    chosen = set(users)
    if not chosen:
        raise ReminderError("users", _("Choose whom to remind."))
    if len(chosen) > MAX_PEOPLE:
        raise ReminderError("users", _("At most %(n)s people are reminded at once.") % {"n": MAX_PEOPLE})
    # two leads at once remind nobody twice
    locked = project.members.select_for_update(of=("self",), no_key=True)
    members = list(locked.select_related("user", "project").filter(user__in=chosen).order_by("pk"))
    if len(members) != len(chosen):
        raise ReminderError("users", _("Only members of the project can be reminded."))
    found = recipients(project, members)
    sent = [each.member for each in found if each.may_be_reminded]
    if not sent:
        raise ReminderError(
            "users",
            _(
                "Nobody was reminded: each of them was reminded in the last %(n)s hours, is paused, or has nothing left to judge."
            )
            % {"n": REMIND_AGAIN_AFTER // timedelta(hours=1)},
        )
    notifications.notify(
        users=[member.user_id for member in sent],
        kind=Notification.Kind.REMINDER,
        project=project,
        url=reverse("work", args=[project.slug]),
    )
    for member in sent:
        audit.record(
            "member.reminded",
            project=project,
            actor=actor,
            subject=member.user.pseudonym,
            user=member.user_id,
        )
    return Reminded(sent, [each.member for each in found if not each.may_be_reminded])
