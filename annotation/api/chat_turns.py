"""Chats and their messages as the API takes and returns them: blind, as pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Q, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from annotation.actions import chats
from annotation.api.pagination import Page
from annotation.api.questions import QuestionOut
from annotation.api.queue import ShownAnswer
from annotation.logic.limits import MAX_CHAT_MESSAGE_CHARS, MAX_TEXT_CHARS
from annotation.logic.masking import mask
from annotation.logic.ranking import LETTERS
from annotation.models import Author, Chat, Judgment, Turn
from annotation.queries import questions_of

State = Turn.State

# --- what is sent ---------------------------------------------------------------------------------------------


class MessageIn(serializers.Serializer[Any]):
    text = serializers.CharField(
        allow_blank=True, trim_whitespace=False, help_text=f"At most {MAX_CHAT_MESSAGE_CHARS:,} characters."
    )
    idempotency_key = serializers.UUIDField(
        help_text="A key of yours, one per message. After a lost connection repeat the request: it is sent once."
    )


class NextMessageIn(MessageIn):
    after = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=2**63 - 1,
        help_text="The message that it follows, which was judged; null: it begins the conversation anew. Where there is one "
        "already, this one begins a branch.",
    )


class WrittenIn(serializers.Serializer[Any]):
    text = serializers.CharField(
        allow_blank=True, trim_whitespace=False, max_length=MAX_TEXT_CHARS, help_text="The better answer."
    )
    idempotency_key = serializers.UUIDField(help_text="A key of yours, one per answer.")


# --- what comes back ------------------------------------------------------------------------------------------


class TurnOut(serializers.Serializer[Any]):
    """A message with its two answers. Nothing tells which model wrote which."""

    id = serializers.IntegerField()
    chat = serializers.IntegerField(source="chat_id")
    after = serializers.IntegerField(source="parent_id", allow_null=True, help_text="The message before.")
    number = serializers.IntegerField(help_text="1 for the first message of a conversation.")
    text = serializers.CharField()
    state = serializers.ChoiceField(
        State.choices,
        help_text="`waiting` and `answering`: the answers are not there yet. `judging`: choose one. `judged`, and `same` for "
        "two equal answers: the next message can follow. `failed`: see `error`; retry it. `dropped`: it counts nowhere.",
    )
    error = serializers.SerializerMethodField(
        help_text="Why there are no answers, without what would name the models."
    )
    answers = serializers.SerializerMethodField(help_text="Both, once they are complete, in the order shown.")
    goes_on = serializers.SerializerMethodField(
        help_text="The answer from which the chat goes on; null before the choice."
    )
    is_own = serializers.SerializerMethodField(help_text="You wrote that answer.")
    ticket = serializers.SerializerMethodField(help_text="Send it with the choice; null unless `judging`.")
    degrees = serializers.SerializerMethodField(help_text="One of these is required with the choice.")
    asks = serializers.SerializerMethodField(help_text="What else is asked, as in `next`.")
    questions = serializers.SerializerMethodField(help_text="The project's own.")
    created_at = serializers.DateTimeField()

    def get_error(self, turn: Turn) -> str:
        return str(chats.NOT_ANSWERED) if turn.state == State.FAILED else ""

    @extend_schema_field(ShownAnswer(many=True))
    def get_answers(self, turn: Turn) -> list[dict[str, str]]:
        shown = _shown_order(turn)
        texts = {response.pk: response.text for response in turn.item.responses.all()} if turn.item else {}
        return [{"label": label, "text": mask(texts[pk])} for label, pk in zip(LETTERS, shown, strict=False)]

    @extend_schema_field({"type": ["string", "null"]})
    def get_goes_on(self, turn: Turn) -> str | None:
        return mask(turn.answer.text) if turn.answer else None

    def get_is_own(self, turn: Turn) -> bool:
        return turn.answer is not None and turn.answer.author.user_id is not None

    @extend_schema_field({"type": ["string", "null"]})
    def get_ticket(self, turn: Turn) -> str | None:
        lease = chats.lease_of(turn) if turn.state == State.JUDGING else None
        return lease.ticket() if lease else None

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_degrees(self, turn: Turn) -> list[str]:
        return list(Judgment.Degree.values) if turn.state == State.JUDGING else []

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_asks(self, turn: Turn) -> list[str]:
        return turn.chat.project.extra_questions if turn.state == State.JUDGING else []

    @extend_schema_field(QuestionOut(many=True))
    def get_questions(self, turn: Turn) -> list[dict[str, Any]]:
        if turn.state != State.JUDGING:
            return []
        return [question.as_data() for question in questions_of(turn.chat.project.question_set_id)]


class ChatRowOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    messages = serializers.IntegerField(help_text="Without those that were dropped.")
    judged = serializers.IntegerField(help_text="Messages of which an answer was chosen.")


class ChatOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    turns = TurnOut(many=True, help_text="All messages, branches and dropped ones too, by id.")


class AnyChatOut(ChatRowOut):
    """A chat as its project's leads see it."""

    annotator = serializers.CharField(source="annotator.username")
    split = serializers.CharField(help_text="train or held_out, that of its first message.")
    same = serializers.IntegerField(help_text="Messages with two equal answers.")
    failed = serializers.IntegerField(help_text="Messages that could not be answered.")
    dropped = serializers.IntegerField(help_text="Messages that were taken back before the choice.")
    written = serializers.IntegerField(help_text="Messages with a better answer that the annotator wrote.")


class ChatPage(Page):
    results = ChatRowOut(many=True)


class AnyChatPage(Page):
    results = AnyChatOut(many=True)


def _shown_order(turn: Turn) -> Sequence[int]:
    """The ids of the answers as they were shown to the annotator; none once the turn was dropped."""
    if turn.item is None:
        return ()
    slots = (slot for slot in turn.item.slots.all() if slot.annotator_id == turn.chat.annotator_id)
    return next((slot.shown_order for slot in slots if slot.shown_order), ())


def with_counts(rows: QuerySet[Chat]) -> QuerySet[Chat]:
    """The chats with the numbers of their messages, as `AnyChatOut` has them."""

    def turns(**condition: Any) -> Count:
        return Count("turns", filter=Q(**{f"turns__{name}": value for name, value in condition.items()}))

    return rows.annotate(
        messages=Count("turns", filter=~Q(turns__state=State.DROPPED)),
        judged=turns(state=State.JUDGED),
        same=turns(state=State.SAME),
        failed=turns(state=State.FAILED),
        dropped=turns(state=State.DROPPED),
        written=turns(answer__author__kind=Author.Kind.PERSON),
    )


def turns_of(chat: Chat) -> QuerySet[Turn]:
    """The messages of a chat by id, with what `TurnOut` reads."""
    related = chat.turns.select_related("chat__project", "prompt", "answer__author", "item")
    return related.prefetch_related("item__responses", "item__slots").order_by("pk")


def turn_data(turn: Turn) -> dict[str, Any]:
    """A message as it is now, as the API returns it."""
    return dict(TurnOut(turns_of(turn.chat).get(pk=turn.pk)).data)


def chat_data(chat: Chat) -> dict[str, Any]:
    """A chat with all of its messages."""
    return {
        "id": chat.pk,
        "created_at": chat.created_at,
        "ended_at": chat.ended_at,
        "turns": TurnOut(turns_of(chat), many=True).data,
    }
