"""Notifications: telling users of events, marking them read, and the digests that are sent by e-mail."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.models import Import, Member, Notification, Project, SnapshotJob, User

Kind = Notification.Kind

EMAILED = (
    *(Kind.REPLY, Kind.BATCH, Kind.BATCH_DUE, Kind.BATCH_OVERDUE, Kind.REMINDER),
    *(Kind.ROUND_HELD, Kind.ROUND_FAILED, Kind.RUN_FAILED),
)
"""What is reported by e-mail, where a user has not turned that off."""
DIGEST_INTERVAL = timedelta(hours=1)
MAX_SUBJECT = Notification._meta.get_field("subject").max_length or 0
RETENTION = timedelta(days=90)
"""How long read notifications are stored."""
LONG_JOB = timedelta(seconds=30)
"""Whoever starts a job that takes no longer sees its end on its page."""
MAX_DIGESTS, MAX_DIGEST_LINES = 200, 20

# an unread one of the same kind and page is renewed instead, and counts one more
NOTIFY = """
INSERT INTO annotation_notification (user_id, kind, project_id, subject, url, count, created_at)
SELECT account.id, %(kind)s, %(project)s, %(subject)s, %(url)s, 1, statement_timestamp()
FROM annotation_user AS account WHERE account.id = ANY(%(users)s) AND account.is_active
ON CONFLICT (user_id, kind, url) WHERE read_at IS NULL
DO UPDATE SET count = annotation_notification.count + 1, created_at = excluded.created_at, subject = excluded.subject,
    emailed_at = NULL
"""


def notify(*, users: Collection[int], kind: Kind, project: Project, url: str, subject: str = "") -> None:
    """Notify users, by their ids, in the current transaction. `url` is the path of the page that the notification leads to."""
    if not users:
        return
    values: dict[str, Any] = {
        "users": sorted(users),
        "kind": kind.value,
        "project": project.pk,
        "subject": _shortened(subject),
        "url": url,
    }
    with connection.cursor() as cursor:
        cursor.execute(NOTIFY, values)


def notify_roles(
    *,
    roles: Collection[str],
    kind: Kind,
    project: Project,
    url: str,
    but: User | None = None,
    subject: str = "",
) -> None:
    """Notify the project's members in some roles, except for one: who did it."""
    members = project.members.filter(role__in=roles)
    if but is not None:
        members = members.exclude(user=but)
    notify(
        users=list(members.values_list("user", flat=True)),
        kind=kind,
        project=project,
        url=url,
        subject=subject,
    )


def notify_leads(*, kind: Kind, project: Project, url: str, subject: str) -> None:
    """Notify a project's leads of something that nobody did: the rules, a worker, a round."""
    notify_roles(roles=(Member.Role.LEAD,), kind=kind, project=project, url=url, subject=subject)


def notify_leads_of_member(*, member: Member, kind: Kind) -> None:
    """Notify a project's leads of a member (`Notification.ABOUT_PEOPLE`), on the member's page."""
    name = member.user.username
    url = reverse("annotator", args=[member.project.slug, name])
    notify_leads(kind=kind, project=member.project, url=url, subject=name)


def notify_of_job(*, job: Import | SnapshotJob, kind: Kind, url: str, subject: str) -> None:
    """Notify whoever started a job of its end, if it took long (`LONG_JOB`)."""
    if (job.finished_at or timezone.now()) - job.created_at >= LONG_JOB:
        notify(users=[job.created_by_id], kind=kind, project=job.project, url=url, subject=subject)


def forget_person(user: User) -> None:
    """Delete what leads were told of a person."""
    Notification.objects.filter(
        kind__in=Notification.ABOUT_PEOPLE, subject=_shortened(user.username)
    ).delete()


def _shortened(subject: str) -> str:
    return subject if len(subject) <= MAX_SUBJECT else subject[: MAX_SUBJECT - 1] + "…"


def notify_member(*, member: Member, kind: Kind) -> None:
    """Notify a member of a change of their own membership, on their work's page."""
    url = reverse("work", args=[member.project.slug])
    notify(users=[member.user_id], kind=kind, project=member.project, url=url)


def settle(*, kinds: Collection[Kind], project: Project, url: str) -> None:
    """Mark as read, for everybody, what needs nobody's attention any more."""
    waiting = Notification.objects.filter(kind__in=kinds, project=project, url=url, read_at=None)
    waiting.update(read_at=timezone.now())


def mark_read(*, user: User, pk: int | None = None) -> int:
    """Mark one of the user's notifications as read, or all of them. Returns how many were unread."""
    unread = user.notifications.filter(read_at=None)
    if pk is not None:
        unread = unread.filter(pk=pk)
    return unread.update(read_at=timezone.now())


def delete_old() -> None:
    """Delete notifications that were read long ago."""
    Notification.objects.filter(read_at__lt=timezone.now() - RETENTION).delete()


# --- e-mail ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Digest:
    """An e-mail that reports what a user has not read."""

    address: str
    subject: str
    body: str


def take_digests() -> list[Digest]:
    """The digests that are due, marked as sent: for each user at most one an hour, to a confirmed address. None if the site
    sends no e-mails."""
    if not settings.EMAIL_ENABLED:
        return []
    now = timezone.now()
    waiting = Notification.objects.filter(read_at=None, emailed_at=None, kind__in=EMAILED)
    confirmed = EmailAddress.objects.filter(user=OuterRef("pk"), email=OuterRef("email"), verified=True)
    due = User.objects.filter(
        Q(digest_at=None) | Q(digest_at__lte=now - DIGEST_INTERVAL),
        Exists(waiting.filter(user=OuterRef("pk"))),
        Exists(confirmed),
        is_active=True,
        email_notifications=True,
    )
    digests = []
    with transaction.atomic():
        for user in due.select_for_update(skip_locked=True, of=("self",)).order_by("pk")[:MAX_DIGESTS]:
            rows = list(waiting.filter(user=user).select_related("project").order_by("-created_at"))
            Notification.objects.filter(pk__in=[row.pk for row in rows]).update(emailed_at=now)
            User.objects.filter(pk=user.pk).update(digest_at=now)
            with translation.override(user.language or settings.LANGUAGE_CODE):
                digests.append(_digest(user, rows))
    return digests


def _digest(user: User, rows: list[Notification]) -> Digest:
    lines = [f"- {row} ({row.project})" for row in rows[:MAX_DIGEST_LINES]]
    more = len(rows) - MAX_DIGEST_LINES
    if more > 0:
        lines.append("- " + ngettext("and %(n)s more", "and %(n)s more", more) % {"n": more})
    where = f"{settings.SITE_URL.rstrip('/')}{reverse('notifications')}" if settings.SITE_URL else ""
    read = (
        _("Read them here: %(address)s") % {"address": where}
        if where
        else _("Sign in to read them under Notifications.")
    )
    body = "\n".join(
        (
            _("Hello %(name)s,") % {"name": user.username} + "\n",
            *lines,
            f"\n{read}\n",
            _("You can turn these e-mails off on your account page."),
        )
    )
    count = len(rows)
    subject = ngettext("Palate: %(n)s notification", "Palate: %(n)s notifications", count) % {"n": count}
    return Digest(user.email, subject, body)
