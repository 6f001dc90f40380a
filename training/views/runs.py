"""Runs: the list, starting one, watching one, stopping it and going on with it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.access import Role, current_user, member_for, project_for
from annotation.models import Member
from training import metric_labels
from training.configs import KINDS
from training.errors import RunError
from training.models import Run
from training.runs.actions import cancel_run, resume_run
from training.runs.calibration_chart import calibration_chart
from training.runs.forms import RunForm, initial_like
from training.runs.queries import run_state, runs_of

PAGE_SIZE = 25
# said elsewhere on the page, or of no use once the run is over
NOT_RESULTS = {"seconds", "lr", "grad_norm", "tokens_per_s"}


@login_required
@require_GET
def runs(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    page = Paginator(runs_of(me.project), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {"me": me, "project": me.project, "page": page, "starts": START_WORDS}
    return render(request, "training/runs.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def run_new(request: HttpRequest, slug: str, kind: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    if kind not in KINDS:
        raise Http404(f"There are no runs of the kind {kind!r}.")
    initial: dict[str, Any] = {
        name: request.GET[name] for name in ("model", "snapshot", "reward_model") if name in request.GET
    }
    if request.GET.get("like", "").isdecimal():
        initial = initial_like(get_object_or_404(me.project.runs, kind=kind, pk=request.GET["like"]))
    form = RunForm(me.project, kind, request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid() and (run := form.start(current_user(request))):
        return redirect("run", slug, run.pk)
    context = {
        "me": me,
        "project": me.project,
        "form": form,
        "kind": Run.Kind(kind),
        "config": KINDS[kind],
        "words": START_WORDS[Run.Kind(kind)],
    }
    return render(request, "training/run_new.html", context, status=422 if form.errors else 200)


@login_required
@require_GET
def run(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    run = get_object_or_404(runs_of(me.project), pk=pk)
    state = run_state(run)
    context = _context(me, run) | {
        "state": state,
        "figures": metric_labels.for_page(),
        "newest": [(name, *points[-1]) for name, points in state["curves"].items()],
        "settings": [
            (field.metadata["label"], run.config.get(name, "–"), field.metadata["help"])
            for name, field in KINDS[run.kind].__dataclass_fields__.items()
            if "label" in field.metadata
        ],
        "inputs": _inputs(run),
    }
    return render(request, "training/run.html", context)


@login_required
@require_GET
def run_live(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The parts of the page that change with the run's state."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    run = get_object_or_404(runs_of(me.project), pk=pk)
    return render(request, "training/run.html#live", _context(me, run))


@login_required
@require_POST
def run_cancel(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    run = get_object_or_404(runs_of(project_for(request.user, slug, Role.LEAD)), pk=pk)
    try:
        cancel_run(run)
    except RunError as error:
        messages.error(request, str(error))
    return redirect("run", slug, pk)


@login_required
@require_POST
def run_resume(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    run = get_object_or_404(runs_of(project_for(request.user, slug, Role.LEAD)), pk=pk)
    try:
        resume_run(run)
    except RunError as error:
        messages.error(request, str(error))
    return redirect("run", slug, pk)


START_WORDS = {
    Run.Kind.REWARD: (
        "Train a reward model",
        "It learns to score answers the way your annotators rank them, and is measured on prompts it never saw.",
    ),
    Run.Kind.DPO: (
        "Improve the policy (DPO)",
        "A new version learns to give the answers that people preferred. It replaces nothing until you promote it.",
    ),
    Run.Kind.GRPO: (
        "Improve the policy (GRPO)",
        "It answers each prompt several times, and learns from how a reward model scores the answers beside each other.",
    ),
    Run.Kind.REINFORCE: (
        "Improve the policy (REINFORCE)",
        "The plainest form: answers that score above a baseline become likelier. With RLOO, the baseline is the others.",
    ),
    Run.Kind.PPO: (
        "Improve the policy (PPO)",
        "A value model learns alongside to judge every word. Needs the most memory, and the most care.",
    ),
    Run.Kind.REJECTION: (
        "Learn from the best of several answers",
        "The policy answers each prompt several times, and is fine-tuned on those that a reward model likes best.",
    ),
    Run.Kind.GENERATE: (
        "Ask the policy for answers",
        "It answers prompts several times each. Put into the queue, the answers of a prompt are ranked by people.",
    ),
    Run.Kind.EVALUATE: (
        "Evaluate a reward model",
        "Its scores are compared with what people said. Nothing is trained.",
    ),
    Run.Kind.SFT: (
        "Fine-tune on conversations",
        "The policy learns to answer as a file of conversations does: where a loop often begins.",
    ),
    Run.Kind.PRETRAIN: (
        "Pre-train a small model",
        "A model learns to go on with plain texts. For trying things out without one from elsewhere.",
    ),
}


def _context(me: Member, run: Run) -> dict[str, Any]:
    report = run.result.get("report") or {}
    results = [
        (metric_labels.report_title(run.config), metric_labels.results(metric_labels.of_report(report))),
        (
            "At the end of the run",
            metric_labels.results(run.result.get("metrics") or {}, without=NOT_RESULTS),
        ),
        ("What it worked on", metric_labels.results(run.result, without=NOT_RESULTS)),
    ]
    return {
        "me": me,
        "project": me.project,
        "run": run,
        "output": getattr(run, "output", None),
        "results": results,
        "headline": next((found for _, found in results if found), [])[:3],
        "seconds": run.result.get("seconds"),
        "queued": run.result.get("items"),
        "by_degree": metric_labels.groups(report, "accuracy_by_degree"),
        "by_length": metric_labels.groups(report, "accuracy_by_length"),
        "calibration": [line for line in report.get("reliability", []) if line["pairs"]],
        "calibration_chart": calibration_chart(report.get("reliability", [])),
    }


def _inputs(run: Run) -> list[tuple[str, str]]:
    """What the settings do not say, in words."""
    labels = {
        "prompts": "Prompts",
        "held_out": "Held-out prompts",
        "split": "Drawn from",
        "publish": "Put into the queue",
        "name": "Name of the new model",
        "data": "File",
        "prompt_ids": "Chosen prompts",
    }
    return [(labels.get(name, name), _said(value)) for name, value in run.inputs.items()]


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"{len(value):,}"
    return str(value).replace("_", "-")
