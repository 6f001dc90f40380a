"""Live chats: an annotator's own, message by message, and for leads the list of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, member_for, project_for
from annotation.actions import chats
from annotation.actions.chats import ChatError
from annotation.actions.judgments import AlreadyJudged, JudgmentError
from annotation.api import errors
from annotation.api.judgments import OwnJudgmentOut, SubmissionIn
from annotation.api.lookup import get_or_404
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.api.questions import QuestionOut
from annotation.api.queue import ShownAnswer, lease_of
from annotation.api.renderers import NDJSONRenderer
from annotation.api.validation import validate, validate_body
from annotation.api.view import ApiView
from annotation.http import answer_stream
from annotation.logic.limits import MAX_CHAT_MESSAGE_CHARS, MAX_TEXT_CHARS
from annotation.logic.masking import mask
from annotation.logic.ranking import LETTERS
from annotation.models import ApiToken, Author, Chat, Judgment, Member, Turn
from annotation.queries import questions_of

State = Turn.State


class EventStreamRenderer(NDJSONRenderer):
    """Allows `Accept: text/event-stream`. The view streams the events itself; this renders errors."""

    media_type = answer_stream.EVENT_STREAM
    format = "event-stream"


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


class TurnOut(serializers.Serializer[Turn]):
    """A message with its two answers. Nothing tells which model wrote which."""

    id = serializers.IntegerField()
    chat = serializers.IntegerField(source="chat_id")
    after = serializers.IntegerField(source="parent_id", allow_null=True, help_text="The message before.")
    number = serializers.IntegerField(help_text="1 for the first message of a conversation.")
    text = serializers.CharField()
    state = serializers.ChoiceField(
        State.choices,
        help_text="`waiting` and `answering`: the answers are not there yet. `judging`: choose one. `judged`, and `same` for "
        "two equal answers: the next message can follow. `failed`: see `error`; ask again. `dropped`: it counts nowhere.",
    )
    error = serializers.CharField()
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


class ChatRowOut(serializers.Serializer[Chat]):
    id = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    messages = serializers.IntegerField(help_text="Without those that were dropped.")
    judged = serializers.IntegerField(help_text="Messages of which an answer was chosen.")


class ChatOut(serializers.Serializer[Chat]):
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


def _counted(rows: QuerySet[Chat]) -> QuerySet[Chat]:
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


def _turns(chat: Chat) -> QuerySet[Turn]:
    related = chat.turns.select_related("chat__project", "prompt", "answer__author", "item")
    return related.prefetch_related("item__responses", "item__slots").order_by("pk")


def _own_chat(request: Request, slug: str, pk: int) -> tuple[Member, Chat]:
    me = member_for(request.user, slug)
    own = Chat.objects.filter(project=me.project_id, annotator=me.user_id).select_related("project")
    return me, get_or_404(own, pk)


def _own_turn(request: Request, slug: str, pk: int, turn: int) -> tuple[Member, Turn]:
    me, chat = _own_chat(request, slug, pk)
    return me, get_or_404(_turns(chat), turn)


def _turn_data(turn: Turn) -> dict[str, Any]:
    """As it is now."""
    return dict(TurnOut(_turns(turn.chat).get(pk=turn.pk)).data)


# --- operations -----------------------------------------------------------------------------------------------

_SENT = OpenApiExample(
    "a message",
    {
        "text": "Why are there two tides a day?",
        "idempotency_key": "4f0c1d57-8a21-4a0e-9a55-1f1f1c0b7a01",
    },
    request_only=True,
)


class ChatsApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Your chats",
        operation_id="chats_list",
        parameters=[CURSOR],
        responses={200: ChatPage} | errors.WRITE,
        tags=["chats"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first, 100 per page. For every member."""
        me = member_for(request.user, slug)
        own = _counted(Chat.objects.filter(project=me.project_id, annotator=me.user_id))
        return NewestFirst().page_response(own, request, ChatRowOut)

    @extend_schema(
        summary="Start a chat",
        operation_id="chats_start",
        request=MessageIn,
        responses={201: TurnOut} | errors.WRITE,
        examples=[_SENT],
        tags=["chats"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Its first message, which two policies answer. Repeating the same key returns the message that it sent. For every
        member, where the project has chats."""
        me = member_for(request.user, slug)
        body = validate_body(request, MessageIn)
        with errors.as_field_errors(ChatError):
            turn = chats.start_chat(member=me, text=body["text"], key=body["idempotency_key"])
        return Response(_turn_data(turn), status=201)


class AllChatsApi(ApiView):
    @extend_schema(
        summary="All chats of the project",
        operation_id="chats_all",
        parameters=[CURSOR],
        responses={200: AnyChatPage} | errors.WRITE,
        tags=["chats"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """With their counts, newest first, 100 per page; exports have what was written. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        rows = _counted(Chat.objects.filter(project=project)).select_related("annotator")
        return NewestFirst().page_response(rows, request, AnyChatOut)


class ChatApi(ApiView):
    @extend_schema(
        summary="One of your chats",
        operation_id="chats_retrieve",
        responses={200: ChatOut} | errors.READ,
        tags=["chats"],
    )
    def get(self, request: Request, slug: str, pk: int) -> Response:
        """With all of its messages. For its own annotator."""
        _me, chat = _own_chat(request, slug, pk)
        return Response(_chat_data(chat))


class EndChatApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="End a chat",
        operation_id="chats_end",
        request=None,
        responses={200: ChatOut} | errors.READ,
        tags=["chats"],
    )
    def post(self, request: Request, slug: str, pk: int) -> Response:
        """What was judged stays; a message that was not is dropped. Repeating it changes nothing. For its own annotator."""
        _me, chat = _own_chat(request, slug, pk)
        chats.end(chat=chat)
        chat.refresh_from_db(fields=["ended_at"])
        return Response(_chat_data(chat))


class TurnsApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Send the next message",
        operation_id="chats_send",
        request=NextMessageIn,
        responses={201: TurnOut} | errors.WRITE,
        examples=[_SENT],
        tags=["chats"],
    )
    def post(self, request: Request, slug: str, pk: int) -> Response:
        """After the message `after`. A message that was not judged yet is dropped. For its own annotator."""
        me, chat = _own_chat(request, slug, pk)
        body = validate_body(request, NextMessageIn)
        after = _turns(chat).filter(pk=body["after"]).first() if body.get("after") else None
        if body.get("after") and after is None:
            raise serializers.ValidationError({"after": ["This chat has no such message."]})
        with errors.as_field_errors(ChatError):
            turn = chats.send(
                chat=chat, member=me, text=body["text"], key=body["idempotency_key"], after=after
            )
        return Response(_turn_data(turn), status=201)


class TurnApi(ApiView):
    @extend_schema(
        summary="One message with its answers",
        operation_id="chats_turn",
        responses={200: TurnOut} | errors.READ,
        tags=["chats"],
    )
    def get(self, request: Request, slug: str, pk: int, turn: int) -> Response:
        """The answers are there once both are complete. For its own annotator."""
        _me, row = _own_turn(request, slug, pk, turn)
        return Response(TurnOut(row).data)


class TurnStreamApi(ApiView):
    renderer_classes = (JSONRenderer, EventStreamRenderer)

    @extend_schema(
        summary="The answers while they are written",
        operation_id="chats_stream",
        parameters=[
            OpenApiParameter(
                "Last-Event-ID", str, OpenApiParameter.HEADER, description="The last event that you have."
            )
        ],
        responses={(200, answer_stream.EVENT_STREAM): OpenApiTypes.STR} | errors.READ,
        tags=["chats"],
    )
    def get(self, request: Request, slug: str, pk: int, turn: int) -> HttpResponseBase:
        """Server-sent events: `piece` (`side`: a or b, `offset`: its place in that answer, `text`), `restart` (an answer begins
        anew), and last `end` or `failed`. Nothing is left out for who reconnects. For its own annotator."""
        _me, row = _own_turn(request, slug, pk, turn)
        return answer_stream.stream_turn(request, row)


class JudgeTurnApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Choose between the answers",
        operation_id="chats_judge",
        request=SubmissionIn,
        responses={201: OwnJudgmentOut} | errors.WRITE | errors.CONFLICT,
        examples=[
            OpenApiExample(
                "the second one is better",
                {
                    "ticket": "gAAAAABqGx…",
                    "ranks": [2, 1],
                    "degree": "better",
                    "idempotency_key": "0f2b3f86-2a07-4b51-8f0e-5b8d4f8a7c09",
                },
                request_only=True,
            )
        ],
        tags=["chats"],
    )
    def post(self, request: Request, slug: str, pk: int, turn: int) -> Response:
        """A judgment like any other; the chat goes on from the preferred answer. Repeating the same key returns the stored
        judgment. For its own annotator."""
        me, row = _own_turn(request, slug, pk, turn)
        serializer = SubmissionIn(data=request.data)
        validate(serializer)
        ticket = serializer.validated_data["ticket"]
        lease = lease_of(ticket, annotator=current_user(request), project=me.project, chat=True)
        try:
            with errors.as_field_errors(ChatError):
                judgment = chats.judge(turn=row, lease=lease, **serializer.arguments(lease.shown_order))
        except AlreadyJudged as error:
            raise errors.Conflict(str(error)) from error
        except JudgmentError as error:
            raise serializers.ValidationError({error.field: [str(error)]}) from error
        return Response(OwnJudgmentOut(judgment).data, status=201)


class WriteAnswerApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Write a better answer",
        operation_id="chats_write",
        request=WrittenIn,
        responses={201: OwnJudgmentOut} | errors.WRITE,
        tags=["chats"],
    )
    def post(self, request: Request, slug: str, pk: int, turn: int) -> Response:
        """After the choice, before the next message: the chat goes on from it. For its own annotator."""
        _me, row = _own_turn(request, slug, pk, turn)
        body = validate_body(request, WrittenIn)
        with errors.as_field_errors((ChatError, JudgmentError)):
            judgment = chats.write_answer(turn=row, text=body["text"], key=body["idempotency_key"])
        return Response(OwnJudgmentOut(judgment).data, status=201)


class DropTurnApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Take a message back",
        operation_id="chats_drop",
        request=None,
        responses={200: TurnOut} | errors.READ,
        tags=["chats"],
    )
    def post(self, request: Request, slug: str, pk: int, turn: int) -> Response:
        """Before it is judged; afterwards it changes nothing. For its own annotator."""
        _me, row = _own_turn(request, slug, pk, turn)
        chats.drop(turn=row)
        return Response(_turn_data(row))


class AskAgainApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Ask again",
        operation_id="chats_ask_again",
        request=None,
        responses={200: TurnOut} | errors.WRITE,
        tags=["chats"],
    )
    def post(self, request: Request, slug: str, pk: int, turn: int) -> Response:
        """Has a message answered that could not be answered before; otherwise it changes nothing. For its own annotator."""
        me, row = _own_turn(request, slug, pk, turn)
        with errors.as_field_errors(ChatError):
            chats.ask_again(turn=row, member=me)
        return Response(_turn_data(row))


def _chat_data(chat: Chat) -> dict[str, Any]:
    return {
        "id": chat.pk,
        "created_at": chat.created_at,
        "ended_at": chat.ended_at,
        "turns": TurnOut(_turns(chat), many=True).data,
    }
