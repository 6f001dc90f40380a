"""Live chats of an annotator: the list, a chat, and the answers to its messages while they are written."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
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
from annotation.http.images import allow_images
from annotation.logic import judging_keys, markdown
from annotation.models import Chat, Member, Turn
from annotation.views import HtmxRequest
from annotation.views.judging import compare, screen
from annotation.views.judging.form_input import FormInput, device_times
from annotation.views.judging.pages import read_key, render_guidelines

PER_PAGE = 50


@dataclass(frozen=True)
class TurnRow:
    """A message that was answered, with the answer that the chat goes on from and the others.

    versions: the ids of the messages in its place, of which this is one. key: of a message that replaces it.
    """

    turn: Turn
    html: str
    answer: str
    others: list[str]
    is_own: bool
    versions: list[int]
    key: uuid.UUID = field(default_factory=uuid.uuid4)

    @property
    def place(self) -> int:
        return self.versions.index(self.turn.pk) + 1

    @property
    def before(self) -> int | None:
        return self.versions[self.place - 2] if self.place > 1 else None

    @property
    def after(self) -> int | None:
        return self.versions[self.place] if self.place < len(self.versions) else None


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
    rows = Chat.objects.filter(project=me.project, annotator=me.user_id).order_by("-pk")[:PER_PAGE]
    first = {
        turn.chat_id: turn
        for turn in Turn.objects.filter(chat__in=[row.pk for row in rows], parent=None)
        .select_related("prompt")
        .order_by("-pk")
    }
    context = {
        "me": me,
        "project": me.project,
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


@login_required
@require_POST
def judge(request: HtmxRequest, slug: str, pk: int, turn_pk: int) -> HttpResponse:
    """Submits the choice between the two answers."""
    me, found, turn = _own_turn(request, slug, pk, turn_pk)
    try:
        lease = Lease.read(request.POST.get("ticket", ""), annotator=current_user(request))
    except QueueError as error:
        return _render(request, me, found, error=ChatError("ticket", str(error)))
    entry = FormInput.read(request.POST, lease.shown_order)
    try:
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
    except (JudgmentError, ChatError) as error:
        return _render(request, me, found, error=error, entry=entry)
    if judgment.slot_id is None:
        messages.warning(
            request, _("Your judgment is stored but does not count: the item was taken from you.")
        )
    return _continue(request, me, found)


@login_required
@require_POST
def write(request: HtmxRequest, slug: str, pk: int, turn_pk: int) -> HttpResponse:
    """Stores a better answer than both, from which the chat goes on."""
    me, found, turn = _own_turn(request, slug, pk, turn_pk)
    try:
        chats.write_answer(turn=turn, text=request.POST.get("text", ""), key=read_key(request))
    except (JudgmentError, ChatError) as error:
        return _render(request, me, found, error=error)
    return _continue(request, me, found)


@login_required
@require_POST
def drop(request: HtmxRequest, slug: str, pk: int, turn_pk: int) -> HttpResponse:
    """Takes a message back, before it is judged."""
    me, found, turn = _own_turn(request, slug, pk, turn_pk)
    chats.drop(turn=turn)
    return _continue(request, me, found)


@login_required
@require_POST
def ask_again(request: HtmxRequest, slug: str, pk: int, turn_pk: int) -> HttpResponse:
    """Has a message answered that could not be answered before."""
    me, found, turn = _own_turn(request, slug, pk, turn_pk)
    try:
        chats.ask_again(turn=turn, member=me)
    except ChatError as error:
        return _render(request, me, found, error=error)
    return _continue(request, me, found)


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
    return answer_stream.stream_turn(request, turn)


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
    entry: FormInput | None = None,
) -> HttpResponse:
    refused = _refused(me)
    if isinstance(refused, GuidelinesUnconfirmed) and request.method == "GET" and not request.htmx:
        return render_guidelines(request, me, "", then="chats")
    turns = {
        turn.pk: turn
        for turn in found.turns.select_related("prompt", "answer__author", "item")
        .prefetch_related("item__responses")
        .order_by("pk")
    }
    newest = turns.get(int(at)) if at.isdecimal() else None
    newest = newest or (list(turns.values())[-1] if turns else None)
    dropped = newest if newest and newest.state == Turn.State.DROPPED else None
    leaf = turns.get(newest.parent_id or 0) if dropped and newest else newest
    current = leaf if leaf and not leaf.is_over else None
    guideline = me.project.guideline
    context: dict[str, Any] = {
        "me": me,
        "project": me.project,
        "chat": found,
        "rows": _rows(turns, turns.get(current.parent_id or 0) if current else leaf),
        "turn": current,
        "last": None if current else leaf,
        "kind": "chat",
        "title": _("Chat"),
        "error": error,
        "text": request.POST.get("text", "") if error else dropped.text if dropped else "",
        "key": uuid.uuid4(),
        "write_key": uuid.uuid4(),
        "keys": judging_keys.keys_of(current_user(request).judging_keys),
        "refusal": str(refused or ""),
        "must_confirm": isinstance(refused, GuidelinesUnconfirmed),
        "guideline_number": guideline.number if guideline else None,
        "is_last": leaf is not None and not any(turn.parent_id == leaf.pk for turn in turns.values()),
    }
    if current:
        context["turn_html"] = markdown.render(current.text)
    if current and current.state == Turn.State.JUDGING:
        context |= _judging_context(request, me, current, entry, error)
    part = "#work" if request.htmx else ""
    response = render(request, f"annotation/chat.html{part}", context, status=422 if error else 200)
    return allow_images(response, me.project)


def _judging_context(
    request: HttpRequest,
    me: Member,
    turn: Turn,
    entry: FormInput | None,
    error: ChatError | JudgmentError | None,
) -> dict[str, Any]:
    """Context of the form with both answers; empty if the item was taken from its annotator."""
    turn.chat.project = me.project
    lease = chats.lease_of(turn)
    if lease is None:
        chats.drop(turn=turn)
        return {"turn": None, "text": turn.text}
    item = queries.item_to_judge(lease.item_id, current_user(request))
    context = screen.context(
        project=me.project,
        item=item,
        annotator=current_user(request),
        shown=lease.shown_order,
        extra_questions=lease.extra_questions,
        questions=queries.questions_of(lease.question_set_id),
        form_input=entry or FormInput(),
        error=error if isinstance(error, JudgmentError) else None,
    )
    return context | {"ticket": lease.ticket(), "judge_key": context["key"], "choices": compare.CHOICES}


def _rows(turns: dict[int, Turn], leaf: Turn | None) -> list[TurnRow]:
    """The messages from the first to a leaf."""
    path: list[Turn] = []
    while leaf is not None:
        path.insert(0, leaf)
        leaf = turns.get(leaf.parent_id or 0)
    versions: dict[int | None, list[int]] = {}
    for turn in turns.values():
        if turn.state != Turn.State.DROPPED:
            versions.setdefault(turn.parent_id, []).append(turn.pk)
    return [_row(turn, versions[turn.parent_id]) for turn in path]


def _row(turn: Turn, versions: list[int]) -> TurnRow:
    answer = turn.answer
    shown = list(turn.item.responses.all()) if turn.item else []
    return TurnRow(
        turn=turn,
        html=markdown.render(turn.text),
        answer=screen.masked_html(answer) if answer else "",
        others=[screen.masked_html(other) for other in shown if answer is None or other.pk != answer.pk],
        is_own=answer is not None and answer.author.user_id is not None,
        versions=versions,
    )
