"""Reads of the threads of messages about items: an annotator's own, an item's, and those that wait for a reply."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Exists, F, OuterRef, QuerySet

from annotation.models import Item, Judgment, Message, Project, User

NEWEST_THREADS = 20


@dataclass(frozen=True)
class Thread:
    """The messages of one annotator and the reviewers about one item, oldest first.

    Attributes:
        judgment: the annotator's current judgment of the item, if there is one and it was asked for.
    """

    item: Item
    annotator: User
    messages: list[Message]
    judgment: Judgment | None = None

    @property
    def pk(self) -> int:
        """The id of its first message."""
        return self.messages[0].pk

    @property
    def is_open(self) -> bool:
        """Whether it waits for a reply."""
        return self.messages[-1].author_id == self.messages[-1].annotator_id


def threads_of_item(item: Item) -> list[Thread]:
    """An item's threads, oldest first. One query."""
    rows = Message.objects.filter(item=item).select_related("author", "annotator", "item")
    return _grouped(rows.order_by("pk"))


def threads_of_user(user: User) -> list[Thread]:
    """The newest threads of an annotator, in projects that they are a member of; the latest message first. Three queries."""
    mine = Message.objects.filter(annotator=user, item__project__members__user=user)
    last = mine.filter(~Exists(_later())).order_by("-pk").values_list("item", flat=True)[:NEWEST_THREADS]
    items = list(last)
    rows = mine.filter(item__in=items).select_related("author", "annotator", "item__prompt", "item__project")
    judged = Judgment.objects.current().filter(annotator=user, item__in=items)
    judgments = {judgment.item_id: judgment for judgment in judged}
    threads = {thread.item.pk: thread for thread in _grouped(rows.order_by("pk"))}
    found = (threads[pk] for pk in items if pk in threads)
    return [Thread(t.item, t.annotator, t.messages, judgments.get(t.item.pk)) for t in found]


def thread_of(item: Item, user: User) -> Thread | None:
    """An annotator's thread about an item. One query."""
    rows = Message.objects.filter(item=item, annotator=user).select_related("author", "annotator", "item")
    return next(iter(_grouped(rows.order_by("pk"))), None)


def open_questions(project: Project) -> QuerySet[Message]:
    """The last message of each thread that waits for a reply, oldest first; not those whose annotator's account was erased."""
    return (
        Message.objects.filter(~Exists(_later()), item__project=project, author=F("annotator"))
        .exclude(text="")
        .select_related("author", "item__prompt")
        .order_by("pk")
    )


def _later() -> QuerySet[Message]:
    return Message.objects.filter(
        item=OuterRef("item"), annotator=OuterRef("annotator"), pk__gt=OuterRef("pk")
    )


def _grouped(messages: Iterable[Message]) -> list[Thread]:
    threads: dict[tuple[int, int], list[Message]] = defaultdict(list)
    for message in messages:
        threads[message.item_id, message.annotator_id].append(message)
    return [Thread(some[0].item, some[0].annotator, some) for some in threads.values()]
