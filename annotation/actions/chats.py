"""Live chats: sending a message, judging its two answers, and going on, exactly once each.

Each message is a turn, and its text is stored with the send, whatever becomes of its answers (`chat_answers`).
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotation.actions import judgments
from annotation.actions.items import CHAT_LEASE, lease_slot
from annotation.actions.leases import Lease
from annotation.actions.worker_jobs import wake_worker
from annotation.logic.limits import (
    MAX_CHAT_MESSAGE_CHARS,
    MAX_CHAT_MESSAGES_PER_HOUR,
    MAX_CHAT_TURNS,
    MAX_OPEN_CHATS,
)
from annotation.logic.splits import split_of
from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import format_number
from annotation.models import Chat, ChatSettings, Guideline, Item, Judgment, Member, Prompt, Slot, Turn, User

State = Turn.State
TASK = "training.tasks.answer_turn"
TAG = "chat"
"""Of the prompts that annotators wrote in chats."""
NOT_ANSWERED = gettext_lazy(
    "The models could not answer this message. Try again, change it, or tell your lead."
)
"""To annotators, of a turn that failed: its `error`, for leads, may name the models."""


class ChatError(Exception):
    """Why something is refused, in a sentence; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class GuidelinesUnconfirmed(ChatError):
    """The annotator has not confirmed the current version of the guidelines."""


# --- sending --------------------------------------------------------------------------------------------------


def check_may_chat(member: Member, *, confirmed_only: bool = False) -> ChatSettings:
    """The project's settings of chats.

    confirmed_only: only of those who have confirmed the current version of the guidelines. The pages ask for it; a script has
    nobody who could read them.

    Raises:
        GuidelinesUnconfirmed
        ChatError: the project asks for no chats, or not from this person now.
    """
    settings = ChatSettings.objects.filter(project=member.project, enabled=True).first()
    if settings is None:
        raise ChatError("chat", _("This project takes no chats at the moment. What you wrote is kept."))
    if member.paused_at is not None:
        raise ChatError("chat", member.paused_reason or _("You are paused in this project."))
    qualifies = member.project.qualification_items and member.role == Member.Role.ANNOTATOR
    if qualifies and member.qualified_at is None:
        raise ChatError("chat", _("This project starts with a qualification: judge its items first."))
    if (
        confirmed_only
        and (current := member.project.guideline)
        and current.pk != member.confirmed_guideline_id
    ):
        raise GuidelinesUnconfirmed(
            "chat", _("The guidelines have changed: read them first. What you wrote is kept.")
        )
    return settings


def start_chat(*, member: Member, text: str, key: uuid.UUID, confirmed_only: bool = False) -> Turn:
    """A new chat with its first message. Sending the same key again returns the turn that it made.

    Raises:
        ChatError: the message is empty or too long, there were too many, or this person may not chat now.
    """
    with transaction.atomic():
        # one send of a person after another; the account may be erased meanwhile
        User.objects.select_for_update(no_key=True).get(pk=member.user_id)
        if not Member.objects.filter(pk=member.pk).exists():
            raise ChatError("chat", _("You are no member of this project any more."))
        own = Chat.objects.filter(project=member.project, annotator=member.user_id)
        if earlier := _sent_before(Turn.objects.filter(chat__in=own), key, text):
            return earlier
        check_may_chat(member, confirmed_only=confirmed_only)
        if own.filter(ended_at=None).count() >= MAX_OPEN_CHATS:
            sentence = _("You have %(n)s open chats: end one of them first.")
            raise ChatError("chat", sentence % {"n": MAX_OPEN_CHATS})
        messages = [{"role": "user", "content": _checked(text, member)}]
        chat = Chat.objects.create(
            project=member.project,
            annotator=member.user,
            guideline=_guideline_of(member),
            split=split_of(messages),
        )
        return _add_turn(chat, None, messages, key)


def send(
    *,
    chat: Chat,
    member: Member,
    text: str,
    key: uuid.UUID,
    after: Turn | None = None,
    confirmed_only: bool = False,
) -> Turn:
    """The next message of a chat: after `after`, or at its beginning. Where there is one already, it begins a branch, and a
    turn that was not judged yet is dropped. Sending the same key again returns the turn that it made.

    Raises:
        ChatError: see `start_chat`; or the chat has ended, or `after` was not judged yet.
    """
    with transaction.atomic():
        chat = Chat.objects.select_for_update(of=("self",)).select_related("project").get(pk=chat.pk)
        if earlier := _sent_before(chat.turns.all(), key, text):
            return earlier
        if after is not None:  # as it is now: a better answer may have been written
            rows = chat.turns.select_for_update(of=("self",)).select_related("prompt", "answer")
            after = rows.filter(pk=after.pk).first()
            if after is None or after.answer is None or not after.is_over:
                raise ChatError("after", _("Choose one of the two answers first: the chat goes on from it."))
        most = check_may_chat(member, confirmed_only=confirmed_only).max_turns
        if chat.ended_at is not None:
            raise ChatError("chat", _("This chat has ended. Start another one."))
        if chat.turns.count() >= MAX_CHAT_TURNS:
            raise ChatError("chat", _("This chat has too many branches. Start another one."))
        if after is not None and after.number >= most:
            raise ChatError(
                "text", _("This chat has reached its %(n)s messages. Start another one.") % {"n": most}
            )
        messages = [{"role": "user", "content": _checked(text, member)}]
        if after is not None and after.answer is not None:
            reply = {"role": "assistant", "content": after.answer.text}
            messages = [*after.prompt.messages, reply, *messages]
        _drop_open_turns(chat)
        return _add_turn(chat, after, messages, key)


def _sent_before(turns: QuerySet[Turn], key: uuid.UUID, text: str) -> Turn | None:
    """The turn that an earlier attempt of the same send made, if any.

    Raises:
        ChatError: the key is that of another message.
    """
    earlier = turns.filter(key=key).select_related("chat", "prompt").first()
    if earlier is not None and earlier.text != _trimmed(text):
        raise ChatError(
            "key", _("An earlier version of this message was sent already. Send again to send this one, too.")
        )
    return earlier


def _trimmed(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _checked(text: str, member: Member) -> str:
    """The text without blanks around it.

    Raises:
        ChatError
    """
    text = _trimmed(text)
    if not text:
        raise ChatError("text", _("Write a message first."))
    if len(text) > MAX_CHAT_MESSAGE_CHARS:
        sentence = _("The message has %(n)s characters; at most %(most)s are possible.")
        raise ChatError(
            "text", sentence % {"n": format_number(len(text)), "most": format_number(MAX_CHAT_MESSAGE_CHARS)}
        )
    if problem := storage_problem(text):
        raise ChatError("text", _("The message %(problem)s.") % {"problem": problem})
    hour = timezone.now() - timedelta(hours=1)
    sent = Turn.objects.filter(
        chat__annotator=member.user_id, chat__project=member.project, created_at__gt=hour
    )
    if sent.count() >= MAX_CHAT_MESSAGES_PER_HOUR:
        sentence = _("You have sent %(n)s messages within an hour. Go on a little later.")
        raise ChatError("text", sentence % {"n": MAX_CHAT_MESSAGES_PER_HOUR})
    return text


def _add_turn(chat: Chat, parent: Turn | None, messages: list[dict[str, str]], key: uuid.UUID) -> Turn:
    number = parent.number + 1 if parent else 1
    prompt = Prompt.objects.create(
        project=chat.project,
        external_id=f"chat-{chat.pk}-{key}",
        messages=messages,
        tags=[TAG],
        metadata={"chat": chat.pk, "turn": number},
        # a text that is held out elsewhere is held out here as well
        split=Prompt.Split.HELD_OUT
        if Prompt.Split.HELD_OUT in (chat.split, split_of(messages))
        else chat.split,
    )
    turn = Turn.objects.create(chat=chat, parent=parent, number=number, prompt=prompt, key=key)
    transaction.on_commit(lambda: wake_worker(TASK, turn.pk))
    return turn


def _guideline_of(member: Member) -> Guideline | None:
    return member.confirmed_guideline or member.project.guideline


# --- judging --------------------------------------------------------------------------------------------------


def lease_of(turn: Turn) -> Lease | None:
    """The lease on the turn's item, by which its annotator judges it; None once it was judged, or taken from them."""
    slot = Slot.objects.filter(
        item=turn.item_id, annotator=turn.chat.annotator_id, state=Slot.State.LEASED
    ).first()
    if slot is None or slot.token is None or slot.shown_order is None or slot.opened_at is None:
        return None
    project = turn.chat.project
    return Lease(
        slot_id=slot.pk,
        item_id=slot.item_id,
        project_id=project.pk,
        annotator_id=turn.chat.annotator_id,
        token=str(slot.token),
        shown_order=list(slot.shown_order),
        opened_at=slot.opened_at.timestamp(),
        guideline_id=turn.chat.guideline_id,
        question_set_id=project.question_set_id,
        extra_questions=project.extra_questions,
        chat=True,
    )


def judge(*, turn: Turn, lease: Lease, **judgment: Any) -> Judgment:
    """Record the choice between the turn's answers, as `judgments.submit`, whose arguments these are. The preferred answer
    goes on. Sending the same key again returns the judgment already recorded.

    Raises:
        ChatError: the turn is not there to be judged any more.
        JudgmentError: see `judgments.submit`.
    """
    with transaction.atomic():
        turn = locked(turn)
        if turn.state not in (State.JUDGING, State.JUDGED) or turn.item_id != lease.item_id:
            raise ChatError("turn", _("This message was dropped or answered anew on another page."))
        recorded = judgments.submit(lease=lease, **judgment)
        if turn.state == State.JUDGING:
            best = recorded.placements.get(rank=1)
            turn.answer, turn.state = best.response, State.JUDGED
            turn.save(update_fields=["answer", "state"])
    return recorded


def write_answer(*, turn: Turn, text: str, key: uuid.UUID) -> Judgment:
    """Record a better answer than the two, which the annotator wrote: a demonstration, in an item of its own. It goes on in
    place of the one that they preferred. Sending the same key again returns what was recorded.

    Raises:
        ChatError: the turn was not judged, or another message follows it.
        JudgmentError: the text is empty or too long.
    """
    with transaction.atomic():
        turn = locked(turn)
        chat = turn.chat
        annotator = chat.annotator
        earlier = Judgment.objects.filter(annotator=annotator, idempotency_key=key).first()
        if earlier is not None:
            if earlier.demonstration_id is None or earlier.item.prompt_id != turn.prompt_id:
                raise ChatError(
                    "key", _("This key belongs to another of your judgments: each needs its own.")
                )
            return earlier
        if (
            not turn.is_over
            or turn.children.exclude(state=State.DROPPED).exists()
            or chat.ended_at is not None
        ):
            raise ChatError(
                "turn", _("A better answer can be written after the choice, before the next message.")
            )
        item = Item.objects.create(project=chat.project, prompt=turn.prompt)
        slot = lease_slot(item, annotator, [])
        lease = Lease(
            slot_id=slot.pk,
            item_id=item.pk,
            project_id=chat.project_id,
            annotator_id=annotator.pk,
            token=str(slot.token),
            shown_order=[],
            opened_at=timezone.now().timestamp(),
            guideline_id=chat.guideline_id,
        )
        recorded = judgments.submit(lease=lease, ranks={}, text=text, idempotency_key=key)
        turn.answer = recorded.demonstration
        turn.save(update_fields=["answer"])
    return recorded


def drop(*, turn: Turn) -> None:
    """Take a turn back before it is judged. Its prompt stays; its answers count nowhere."""
    with transaction.atomic():
        turn = locked(turn)
        if turn.state in Turn.OPEN_STATES:
            _drop(turn)


def retry(*, turn: Turn, member: Member) -> None:
    """Have a failed turn answered again.

    Raises:
        ChatError: this person may not chat now.
    """
    with transaction.atomic():
        turn = locked(turn)
        if turn.state != State.FAILED:
            return
        check_may_chat(member)
        turn.state, turn.error, turn.attempts = State.WAITING, "", 0
        turn.save(update_fields=["state", "error", "attempts"])
    wake_worker(TASK, turn.pk)


def end(*, chat: Chat) -> None:
    """End a chat. What was judged stays; a turn that was not is dropped."""
    with transaction.atomic():
        Chat.objects.select_for_update().get(pk=chat.pk)
        _drop_open_turns(chat)
        Chat.objects.filter(pk=chat.pk, ended_at=None).update(ended_at=timezone.now())


def drop_left_turns() -> None:
    """Drop turns whose annotator has left them, or was sent away. A sweep calls it."""
    left = Turn.objects.filter(state__in=Turn.OPEN_STATES)
    last = left.annotate(opened=Max("item__slots__opened_at"))
    before = timezone.now() - CHAT_LEASE
    for turn in last.filter(created_at__lt=before).exclude(opened__gt=before):
        drop(turn=turn)


def _drop_open_turns(chat: Chat) -> None:
    """Drop what is open in a locked chat. A turn that is judged at this moment is waited for, and stays."""
    open_turns = chat.turns.filter(state__in=Turn.OPEN_STATES).select_for_update(of=("self",))
    for turn in open_turns.select_related("item"):
        _drop(turn)


def _drop(turn: Turn) -> None:
    turn.state = State.DROPPED
    turn.save(update_fields=["state"])
    if turn.item is not None:
        turn.item.state, turn.item.retired_reason = Item.State.RETIRED, "the chat went on without it"
        turn.item.save(update_fields=["state", "retired_reason"])
        turn.item.slots.exclude(state=Slot.State.DONE).delete()


def locked(turn: Turn) -> Turn:
    """The turn, locked until the transaction ends."""
    rows = Turn.objects.select_for_update(of=("self",))
    return rows.select_related("chat__project", "chat__annotator", "item", "prompt").get(pk=turn.pk)
