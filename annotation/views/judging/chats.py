"""Live chats of an annotator: the list, a chat, and the answers to its messages while they are written."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import F
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import queries
from annotation.access import current_user, member_for
from annotation.actions import chats
from annotation.actions.chats import ChatError, GuidelinesUnconfirmed
from annotation.actions.judgments import JudgmentError
from annotation.actions.leases import Lease
from annotation.actions.queue import QueueError
from annotation.http import answer_stream
from annotation.http.answer_stream import TooManyStreams
from annotation.http.images import allow_images
from annotation.logic import judging_keys, markdown
from annotation.models import Chat, Draft, Member, Turn
from annotation.views import HtmxRequest
from annotation.views.judging import chat_thread, compare, screen
from annotation.views.judging.form_input import FormInput, device_times
from annotation.views.judging.pages import read_key, read_lease, render_guidelines
from annotation.views.long_lists import LongList

PER_PAGE = 50
MAX_DIGITS = 18
"""Of an id."""


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def my_chats(request: HtmxRequest, slug: str) -> HttpResponse:
    """One's chats in a project, the newest first; a POST starts one."""
    me = member_for(request.user, slug)
    error = None
    refused = _refused(me)
    if request.method == "GET" and isinstance(refused, GuidelinesUnconfirmed):
        return render_guidelines(request, me, "", then="chats")
    if request.method == "POST":
        try:
            turn = chats.start_chat(
                member=me, text=request.POST.get("text", ""), key=_key(request), confirmed_only=True
            )
        except ChatError as problem:
            error = problem
        else:
            return redirect("chat", slug, turn.chat_id)
    own = Chat.objects.filter(project=me.project, annotator=me.user_id)
    page = LongList(own.order_by(F("ended_at").asc(nulls_first=True), "-pk"), PER_PAGE).get_page(
        request.GET.get("page")
    )
    rows = list(page)
    first = {
        turn.chat_id: turn
        for turn in Turn.objects.filter(chat__in=[row.pk for row in rows], parent=None)
        .select_related("prompt")
        .order_by("-pk")
    }
    context = {
        "me": me,
        "project": me.project,
        "page": page,
        "rows": [(row, first[row.pk]) for row in rows],
        "error": error,
        "text": request.POST.get("text", ""),
        "key": uuid.uuid4(),
        "refusal": str(refused or ""),
    }
    return render(request, "annotation/chats.html", context, status=422 if error else 200)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def chat(request: HtmxRequest, slug: str, pk: int) -> HttpResponse:
    """A chat, up to the newest message or to `?turn=`; a POST sends the next message after `after`."""
    me, found = _own_chat(request, slug, pk)
    if request.method == "GET":
        return _render(request, me, found, at=request.GET.get("turn", ""))
    after = request.POST.get("after", "")
    try:
        parent = (
            get_object_or_404(found.turns.select_related("prompt", "answer"), pk=after) if after else None
        )
        chats.send(
            chat=found,
            member=me,
            text=request.POST.get("text", ""),
            key=_key(request),
            after=parent,
            confirmed_only=True,
        )
    except ValueError:
        raise Http404("No such message.") from None
    except ChatError as error:
        return _render(request, me, found, error=error)
    return _continue(request, me, found)


def _of_turn(act: Callable[[HtmxRequest, Member, Turn], None]) -> Callable[..., HttpResponse]:
    """The view of a POST that acts on a message: it shows the chat as it is after that, or again with why it was refused."""

    @login_required
    @require_POST
    @wraps(act)
    def view(request: HtmxRequest, slug: str, pk: int, turn_pk: int) -> HttpResponse:
        me, found, turn = _own_turn(request, slug, pk, turn_pk)
        try:
            act(request, me, turn)
        except QueueError as error:
            return _render(request, me, found, error=ChatError("ticket", str(error)))
        except (JudgmentError, ChatError) as error:
            return _render(request, me, found, error=error)
        return _continue(request, me, found)

    return view


@_of_turn
def judge(request: HtmxRequest, me: Member, turn: Turn) -> None:
    """Submits the choice between the two answers."""
    lease = read_lease(request, me.project, chat=True)
    entry = FormInput.read(request.POST, lease.shown_order)
    judgment = chats.judge(
        turn=turn,
        lease=lease,
        ranks=entry.ranks,
        degree=entry.degree,
        ratings=entry.ratings,
        rationale=entry.rationale,
        answers=entry.answers,
        idempotency_key=read_key(request),
        times=device_times(request.POST),
    )
    if judgment.slot_id is None:
        messages.warning(
            request, _("Your judgment is stored but does not count: the item was taken from you.")
        )


@_of_turn
def write(request: HtmxRequest, me: Member, turn: Turn) -> None:
    """Stores a better answer than both, from which the chat goes on."""
    chats.write_answer(turn=turn, text=request.POST.get("text", ""), key=read_key(request))


@_of_turn
def drop(request: HtmxRequest, me: Member, turn: Turn) -> None:
    """Takes a message back, before it is judged."""
    chats.drop(turn=turn)


@_of_turn
def retry(request: HtmxRequest, me: Member, turn: Turn) -> None:
    """Has a message answered that could not be answered before."""
    chats.retry(turn=turn, member=me)


@login_required
@require_POST
def end(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me, found = _own_chat(request, slug, pk)
    chats.end(chat=found)
    messages.success(request, _("The chat has ended. What you judged stays."))
    return redirect("chats", me.project.slug)


# --- answers while they are written ------------------------------------------------------------------------------


@require_GET
async def stream(request: HttpRequest, slug: str, pk: int, turn_pk: int) -> HttpResponseBase:
    """Server-sent events of a turn's answers, from the first or from after `Last-Event-ID`; the last one is `end` or `failed`."""
    if not await sync_to_async(lambda: request.user.is_authenticated)():
        return HttpResponse(status=403)
    _me, _chat, turn = await sync_to_async(_own_turn)(request, slug, pk, turn_pk)
    try:
        return answer_stream.stream_turn(request, turn)
    except TooManyStreams as error:
        return answer_stream.too_many(error)


@login_required
@never_cache
@require_GET
def events(request: HttpRequest, slug: str, pk: int, turn_pk: int) -> HttpResponse:
    """The same events as JSON, after `?after=`, for pages whose stream does not come through."""
    _me, _chat, turn = _own_turn(request, slug, pk, turn_pk)
    is_over = turn.state not in answer_stream.WRITTEN
    after = request.GET.get("after", "")
    return JsonResponse(answer_stream.events_so_far(turn.stream, after, is_over=is_over))


# --- the page ------------------------------------------------------------------------------------------------------


def _own_chat(request: HttpRequest, slug: str, pk: int) -> tuple[Member, Chat]:
    me = member_for(request.user, slug)
    return me, get_object_or_404(
        Chat.objects.select_related("project"), pk=pk, project=me.project, annotator=me.user_id
    )


def _own_turn(request: HttpRequest, slug: str, pk: int, turn_pk: int) -> tuple[Member, Chat, Turn]:
    me, found = _own_chat(request, slug, pk)
    return me, found, get_object_or_404(found.turns, pk=turn_pk)


def _key(request: HttpRequest) -> uuid.UUID:
    """
    Raises:
        ChatError: the form was tampered with.
    """
    try:
        return read_key(request)
    except JudgmentError as error:
        raise ChatError("key", str(error)) from None


def _refused(me: Member) -> ChatError | None:
    """Why this person cannot chat now; None if they can."""
    try:
        chats.check_may_chat(me, confirmed_only=True)
    except ChatError as error:
        return error
    return None


def _continue(request: HtmxRequest, me: Member, found: Chat) -> HttpResponse:
    return _render(request, me, found) if request.htmx else redirect("chat", me.project.slug, found.pk)


def _render(
    request: HtmxRequest,
    me: Member,
    found: Chat,
    *,
    at: str = "",
    error: ChatError | JudgmentError | None = None,
) -> HttpResponse:
    refused = _refused(me)
    if isinstance(refused, GuidelinesUnconfirmed) and request.method == "GET" and not request.htmx:
        return render_guidelines(request, me, "", then="chats")
    typed = {}
    if error and "text" in request.POST:
        typed = {request.POST.get("form", chat_thread.NEXT): request.POST["text"]}
    at_id = int(at) if at.isdecimal() and len(at) < MAX_DIGITS else None
    thread = chat_thread.thread_of(found, at_id, typed)
    judging = None
    if thread.current and thread.current.state == Turn.State.JUDGING:
        judging = _judging_context(request, me, thread.current, error)
        if judging is None:  # the item was taken from its annotator
            chats.drop(turn=thread.current)
            thread = chat_thread.thread_of(found, None, typed)
    guideline = me.project.guideline
    context: dict[str, Any] = {
        "me": me,
        "project": me.project,
        "chat": found,
        "thread": thread,
        "rows": thread.rows,
        "turn": thread.current,
        "not_answered": chats.NOT_ANSWERED,
        "turn_html": markdown.render(thread.current.text) if thread.current else "",
        "text": thread.typed.get(chat_thread.NEXT, ""),
        "better": thread.typed.get(chat_thread.BETTER),
        "kind": "chat",
        "title": _("Chat"),
        "key": uuid.uuid4(),
        "write_key": uuid.uuid4(),
        "keys": judging_keys.keys_of(current_user(request).judging_keys),
        "refusal": str(refused or ""),
        "must_confirm": isinstance(refused, GuidelinesUnconfirmed),
        "guideline_number": guideline.number if guideline else None,
        **(judging or {}),
        # that of the choice stands beside its buttons
        "problem": None if judging and isinstance(error, JudgmentError) else error,
    }
    part = "#work" if request.htmx else ""
    response = render(request, f"annotation/chat.html{part}", context, status=422 if error else 200)
    return allow_images(response, me.project)


def _judging_context(
    request: HttpRequest,
    me: Member,
    turn: Turn,
    error: ChatError | JudgmentError | None,
) -> dict[str, Any] | None:
    """Context of the form with both answers, filled in from the choice that was refused or else from the draft; None if the item
    was taken from its annotator."""
    turn.chat.project = me.project
    lease = chats.lease_of(turn)
    if lease is None:
        return None
    is_refused = error is not None and "ticket" in request.POST
    item = queries.item_to_judge(lease.item_id, current_user(request))
    context = screen.context(
        project=me.project,
        item=item,
        annotator=current_user(request),
        shown=lease.shown_order,
        extra_questions=lease.extra_questions,
        questions=queries.questions_of(lease.question_set_id),
        form_input=FormInput.read(request.POST, lease.shown_order)
        if is_refused
        else FormInput.from_data(_draft_of(lease), lease.shown_order),
        error=error if isinstance(error, JudgmentError) else None,
    )
    del context["text"]  # of an answer that is asked for
    return context | {"ticket": lease.ticket(), "judge_key": context["key"], "choices": compare.CHOICES}


def _draft_of(lease: Lease) -> Any:
    own = Draft.objects.filter(item=lease.item_id, annotator=lease.annotator_id)
    return own.values_list("data", flat=True).first()
