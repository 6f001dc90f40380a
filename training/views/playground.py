"""The playground: two models answer a lead's own messages, side by side and by name."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.access import Role, current_user, member_for
from annotation.http.answer_stream import TooManyStreams, events_so_far, stream_response, too_many
from annotation.logic.markdown import render as render_markdown
from annotation.models import Member
from training.chats import playground as actions
from training.chats.playground import Question
from training.errors import RunError
from training.models import ModelVersion
from training.views.model_comparison import policies_of, selected_models

TEMPERATURE, MAX_NEW_TOKENS = 0.7, 512


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def playground(request: HttpRequest, slug: str) -> HttpResponse:
    """A question with its answers, and the form of the next one."""
    me = member_for(request.user, slug, Role.LEAD)
    policies = policies_of(me)
    question, error = _find(me, request.GET.get("question", "")), None
    if request.method == "POST":
        try:
            question = _ask(request, me, policies)
        except RunError as refused:
            error = refused
            question = _find(me, request.POST.get("after", ""))
        else:
            return redirect(f"{reverse('playground', args=[slug])}?question={question.key}")
    chosen = request.POST if request.method == "POST" else request.GET
    first, second = selected_models(chosen, policies)
    if question and "a" not in chosen:
        by_id = {version.pk: version for version in policies}
        first, second = (
            by_id.get(pk, default) for pk, default in zip(question.models, (first, second), strict=True)
        )
    context: dict[str, Any] = {
        "me": me,
        "project": me.project,
        "policies": policies,
        "first": first,
        "second": second,
        "question": question,
        "error": error,
        "text": request.POST.get(
            "text", question.messages[-1]["content"] if question and question.error else ""
        ),
        "temperature": request.POST.get("temperature", question.temperature if question else TEMPERATURE),
        "max_new_tokens": request.POST.get(
            "max_new_tokens", question.max_new_tokens if question else MAX_NEW_TOKENS
        ),
    }
    if question:
        context["turns"] = [
            (message["role"], render_markdown(message["content"])) for message in question.messages
        ]
        context["answers"] = [
            (letter, version, render_markdown(text) if text is not None else None)
            for letter, version, text in zip(
                "AB", (first, second), question.texts or (None, None), strict=True
            )
        ]
    return render(request, "training/playground.html", context, status=422 if error else 200)


@require_GET
async def playground_stream(request: HttpRequest, slug: str, key: str) -> HttpResponseBase:
    """Server-sent events of the answers while they are written."""
    if not await sync_to_async(lambda: request.user.is_authenticated)():
        raise PermissionDenied
    question = await sync_to_async(_found)(request, slug, key)

    def is_over() -> bool:
        now = actions.find(key)
        return now is None or now.is_over

    try:
        return stream_response(request, question.stream, is_over)
    except TooManyStreams as error:
        return too_many(error)


@login_required
@never_cache
@require_GET
def playground_events(request: HttpRequest, slug: str, key: str) -> HttpResponse:
    """The same events as JSON, after `?after=`."""
    question = _found(request, slug, key)
    return JsonResponse(
        events_so_far(question.stream, request.GET.get("after", ""), is_over=question.is_over)
    )


@login_required
@require_POST
def playground_queue(request: HttpRequest, slug: str, key: str) -> HttpResponse:
    """Puts the question with both answers into the queue."""
    question = _found(request, slug, key)
    me = member_for(request.user, slug, Role.LEAD)
    try:
        item = actions.send_to_queue(project=me.project, question=question)
    except RunError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("Item %(id)s is in the queue.") % {"id": item.pk})
    return redirect(f"{reverse('playground', args=[slug])}?question={key}")


def _found(request: HttpRequest, slug: str, key: str) -> Question:
    question = _find(member_for(request.user, slug, Role.LEAD), key)
    if question is None:
        raise Http404("No such question.")
    return question


def _find(me: Member, key: str) -> Question | None:
    """One's own question in this project."""
    question = actions.find(key) if key else None
    return question if question and (question.project, question.user) == (me.project_id, me.user_id) else None


def _ask(request: HttpRequest, me: Member, policies: list[ModelVersion]) -> Question:
    """
    Raises:
        RunError: see `actions.ask`; or there is no model, or a setting is no number.
    """
    first, second = selected_models(request.POST, policies)
    if first is None or second is None:
        raise RunError("a", _("The project has no models yet."))
    after = request.POST.get("after", "")
    before = _find(me, after)
    if after and before is None:
        raise RunError("question", _("This conversation is too old to go on: start another one."))
    return actions.ask(
        project=me.project,
        user=current_user(request),
        models=(first, second),
        text=request.POST.get("text", ""),
        temperature=_number(request.POST, "temperature", float),
        max_new_tokens=int(_number(request.POST, "max_new_tokens", int)),
        after=before,
        choice=int(request.POST.get("choice") == "b"),
    )


def _number(form: QueryDict, name: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(form.get(name, ""))
    except ValueError:
        raise RunError(name, _("This is no number.")) from None
