"""Messages about an item: an annotator asks, reviewers reply. Each annotator has a thread of their own for an item."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation.actions import notifications
from annotation.logic.limits import MAX_MESSAGE_CHARS, MAX_MESSAGES_PER_HOUR
from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import format_number
from annotation.models import Item, Judgment, Member, Message, Notification, Project, Skip, Slot, User

REVIEWERS = (Member.Role.LEAD, Member.Role.REVIEWER)


class MessageError(Exception):
    """Why a message is refused, in a sentence; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@transaction.atomic
def ask(*, item: Item, annotator: User, text: str) -> Message:
    """Write to the reviewers about an item that the annotator has judged or skipped, or holds now.

    Raises:
        MessageError: they have nothing to do with the item, the text is empty or too long, or they wrote too many.
    """
    own = {"item": item, "annotator": annotator}
    if not any(rows.objects.filter(**own).exists() for rows in (Judgment, Skip, Slot)):
        raise MessageError("item", _("You can ask about items that you have judged, skipped or opened."))
    message = _write(item, annotator, annotator, text)
    notifications.notify_roles(
        roles=REVIEWERS,
        kind=Notification.Kind.MESSAGE,
        project=item.project,
        url=_item_url(item.project, item),
        but=annotator,
    )
    return message


@transaction.atomic
def reply(*, item: Item, annotator: User, author: User, text: str) -> Message:
    """Reply in an annotator's thread, as a reviewer or lead of the project.

    Raises:
        MessageError: there is no such thread, the text is empty or too long, or the author wrote too many.
    """
    if not Message.objects.filter(item=item, annotator=annotator).exists():
        raise MessageError("annotator", _("This person has not asked about this item."))
    message = _write(item, annotator, author, text)
    url = _item_url(item.project, item)
    # what the other reviewers need not answer any more
    notifications.settle(kinds=[Notification.Kind.MESSAGE], project=item.project, url=url)
    if annotator != author:
        notifications.notify(
            users=[annotator.pk],
            kind=Notification.Kind.REPLY,
            project=item.project,
            url=f"{reverse('my-work')}#thread-{first_of_thread(message)}",
        )
    return message


def first_of_thread(message: Message) -> int:
    """The id of the first message of a message's thread, by which its annotator knows the thread."""
    thread = Message.objects.filter(item_id=message.item_id, annotator_id=message.annotator_id)
    return thread.order_by("pk").values_list("pk", flat=True)[0]


def _item_url(project: Project, item: Item) -> str:
    return reverse("item", args=[project.slug, item.pk]) + "#questions"


def _write(item: Item, annotator: User, author: User, text: str) -> Message:
    text = text.strip()
    if not text:
        raise MessageError("text", _("Write a message first."))
    if len(text) > MAX_MESSAGE_CHARS:
        limit = format_number(MAX_MESSAGE_CHARS)
        raise MessageError("text", _("A message may have at most %(limit)s characters.") % {"limit": limit})
    if problem := storage_problem(text):
        raise MessageError("text", _("The message %(problem)s.") % {"problem": problem})
    since = timezone.now() - timedelta(hours=1)
    if Message.objects.filter(author=author, created_at__gte=since).count() >= MAX_MESSAGES_PER_HOUR:
        raise MessageError(
            "text",
            _("You may write %(limit)s messages an hour. Try again later.")
            % {"limit": MAX_MESSAGES_PER_HOUR},
        )
    return Message.objects.create(item=item, annotator=annotator, author=author, text=text)
