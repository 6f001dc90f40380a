"""Live chats: an annotator's own, message by message, and for leads the list of all."""

from __future__ import annotations

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, member_for, project_for
from annotation.actions import chats
from annotation.actions.chats import ChatError
from annotation.actions.judgments import AlreadyJudged, JudgmentError
from annotation.api import errors
from annotation.api.chat_turns import (
    AnyChatOut,
    AnyChatPage,
    ChatOut,
    ChatPage,
    ChatRowOut,
    MessageIn,
    NextMessageIn,
    TurnOut,
    WrittenIn,
    chat_data,
    turn_data,
    turns_of,
    with_counts,
)
from annotation.api.judgments import OwnJudgmentOut, SubmissionIn
from annotation.api.lookup import get_or_404
from annotation.api.pagination import CURSOR, NewestFirst
from annotation.api.queue import lease_of
from annotation.api.renderers import NDJSONRenderer
from annotation.api.validation import validate, validate_body
from annotation.api.view import ApiView
from annotation.http import answer_stream
from annotation.http.answer_stream import TooManyStreams
from annotation.models import ApiToken, Chat, Member, Turn


class EventStreamRenderer(NDJSONRenderer):
    """Allows `Accept: text/event-stream`. The view streams the events itself; this renders errors."""

    media_type = answer_stream.EVENT_STREAM
    format = "event-stream"


def _own_chat(request: Request, slug: str, pk: int) -> tuple[Member, Chat]:
    me = member_for(request.user, slug)
    own = Chat.objects.filter(project=me.project_id, annotator=me.user_id).select_related("project")
    return me, get_or_404(own, pk)


def _own_turn(request: Request, slug: str, pk: int, turn: int) -> tuple[Member, Turn]:
    me, chat = _own_chat(request, slug, pk)
    return me, get_or_404(turns_of(chat), turn)


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
        own = with_counts(Chat.objects.filter(project=me.project_id, annotator=me.user_id))
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
        return Response(turn_data(turn), status=201)


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
        rows = with_counts(Chat.objects.filter(project=project)).select_related("annotator")
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
        return Response(chat_data(chat))


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
        return Response(chat_data(chat))


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
        after = turns_of(chat).filter(pk=body["after"]).first() if body.get("after") else None
        if body.get("after") and after is None:
            raise serializers.ValidationError({"after": ["This chat has no such message."]})
        with errors.as_field_errors(ChatError):
            turn = chats.send(
                chat=chat, member=me, text=body["text"], key=body["idempotency_key"], after=after
            )
        return Response(turn_data(turn), status=201)


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
        try:
            return answer_stream.stream_turn(request, row)
        except TooManyStreams as error:
            raise errors.TooMany(str(error)) from error


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
        with errors.as_field_errors(ChatError, JudgmentError):
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
        return Response(turn_data(row))


class RetryApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Have a message answered again",
        operation_id="chats_retry",
        request=None,
        responses={200: TurnOut} | errors.WRITE,
        tags=["chats"],
    )
    def post(self, request: Request, slug: str, pk: int, turn: int) -> Response:
        """Has a message answered that could not be answered before; otherwise it changes nothing. For its own annotator."""
        me, row = _own_turn(request, slug, pk, turn)
        with errors.as_field_errors(ChatError):
            chats.retry(turn=row, member=me)
        return Response(turn_data(row))
