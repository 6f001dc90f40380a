"""Two policies side by side: their responses to the same prompts, and a playground for a prompt of one's own."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from annotation.access import Role, current_user, member_for
from annotation.models import Member, Response
from annotation.views.long_lists import LongList
from training.configs import ConfigError
from training.errors import RunError, describe_error
from training.models import ModelVersion, Run
from training.registry.queries import shared_prompts
from training.runs.actions import start_run
from training.runs.outputs import read_responses

PAGE_SIZE = 10
MAX_QUESTION_LENGTH = 4000


@login_required
@require_GET
def model_compare(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    policies = _policies(me)
    first, second = _selected_models(request.GET, policies)
    context: dict[str, Any] = {
        "me": me,
        "project": me.project,
        "policies": policies,
        "first": first,
        "second": second,
    }
    if first and second:
        page = LongList(shared_prompts(first, second), PAGE_SIZE).get_page(request.GET.get("page"))
        responses: dict[tuple[int, int], list[Response]] = {}
        for response in Response.objects.filter(
            prompt__in=list(page), author__in=[first.author_id, second.author_id]
        ).order_by("pk"):
            responses.setdefault((response.prompt_id, response.author_id), []).append(response)
        context |= {
            "page": page,
            "rows": [
                (prompt, responses[prompt.pk, first.author_id], responses[prompt.pk, second.author_id])  # type: ignore[index]
                for prompt in page
            ],
        }
    return render(request, "training/model_compare.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def playground(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    policies = _policies(me)
    if request.method == "POST":
        address = _start_runs(request, me, policies)
        if address is not None:
            return redirect(address)
    runs = _runs(request, me)
    first, second = _selected_models(request.POST if request.method == "POST" else request.GET, policies)
    context = {
        "me": me,
        "project": me.project,
        "policies": policies,
        "first": runs[0].model if runs else first,
        "second": runs[-1].model if runs else second,
        "question": runs[0].inputs["ask"] if runs else request.POST.get("question", ""),
        **_responses(runs),
    }
    return render(request, "training/playground.html", context)


@login_required
@require_GET
def playground_answers(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that is polled until both runs are over."""
    me = member_for(request.user, slug, Role.LEAD)
    runs = _runs(request, me)
    if not runs:
        raise Http404("No such question.")
    return render(
        request, "training/playground.html#responses", {"me": me, "project": me.project, **_responses(runs)}
    )


def _policies(me: Member) -> list[ModelVersion]:
    return list(
        ModelVersion.objects.filter(
            project=me.project, kind=ModelVersion.Kind.POLICY, removed_at=None
        ).select_related("author")
    )


def _selected_models(
    params: QueryDict, policies: list[ModelVersion]
) -> tuple[ModelVersion | None, ModelVersion | None]:
    """The models of the parameters `a` and `b`; by default the two newest."""
    by_id = {str(version.pk): version for version in policies}
    first = by_id.get(params.get("a", "")) or next(iter(policies[1:]), None) or next(iter(policies), None)
    return first, by_id.get(params.get("b", "")) or next(iter(policies), None)


def _start_runs(request: HttpRequest, me: Member, policies: list[ModelVersion]) -> str | None:
    """Start a run for each model. Returns the address of the page with their responses; None, with a message, on an error."""
    question = request.POST.get("question", "").replace("\0", "").strip()[:MAX_QUESTION_LENGTH]
    runs = []
    try:
        for version in dict.fromkeys(_selected_models(request.POST, policies)):
            run = start_run(
                project=me.project,
                kind=Run.Kind.GENERATE,
                creator=current_user(request),
                model=version,
                config={"samples": 2},
                inputs={"ask": question},
            )
            runs.append(f"run={run.pk}")
    except (RunError, ConfigError) as error:
        messages.error(request, describe_error(error))
        return None
    return f"{request.path}?{'&'.join(runs)}"


def _runs(request: HttpRequest, me: Member) -> list[Run]:
    ids = [pk for pk in request.GET.getlist("run")[:2] if pk.isdecimal()]
    return [
        get_object_or_404(
            Run.objects.select_related("model"), project=me.project, inputs__has_key="ask", pk=pk
        )
        for pk in ids
    ]


def _responses(runs: list[Run]) -> dict[str, Any]:
    responses_by_run = [
        (run, read_responses([run.pk]).get(0, [[]])[0] if run.state == Run.State.DONE else []) for run in runs
    ]
    return {
        "responses_by_run": responses_by_run,
        "waiting": any(run.is_open for run in runs),
        "run_query": "&".join(f"run={run.pk}" for run in runs),
    }
