"""The pages of runs: the list, the form that starts one, a run live, cancelling and resuming it."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.access import Role, current_user, member_for, project_for
from annotation.lists.listing import Listing
from annotation.logic.translation import format_number
from annotation.models import Member
from annotation.views import HtmxRequest, bulk
from annotation.views.bulk import BulkAct
from annotation.views.calibration_chart import calibration_chart
from annotation.views.lists import render_list
from training.configs import KINDS
from training.errors import RunError
from training.metric_labels import (
    accuracy_rows,
    criteria_tables,
    labelled_values,
    report_title,
    report_values,
)
from training.models import Run, RunLog
from training.runs import bulk_runs
from training.runs.actions import cancel_run, resume_run
from training.runs.advice import advise
from training.runs.curves import chart_data
from training.runs.forms import RunForm, initial_like
from training.runs.queries import run_state, runs_of
from training.runs.run_list import RUNS

# shown elsewhere on the page, or of no use once the run is over
NOT_IN_RESULTS = {"seconds", "lr", "grad_norm", "tokens_per_s"}
HEADLINE = 3
"""Metrics of a finished run that are shown above the others."""


class KindText(NamedTuple):
    """Texts that the pages translate."""

    title: str
    description: str


KIND_TEXTS = {
    Run.Kind.REWARD: KindText(
        gettext_noop("Train a reward model"),
        gettext_noop(
            "It learns to score answers the way your annotators rank them, and is evaluated on held-out prompts."
        ),
    ),
    Run.Kind.DPO: KindText(
        gettext_noop("Improve the policy (DPO)"),
        gettext_noop(
            "A new version is trained on the judgments directly. It replaces nothing until you promote it."
        ),
    ),
    Run.Kind.KTO: KindText(
        gettext_noop("Improve the policy (KTO)"),
        gettext_noop(
            "Each judged answer counts as desirable or undesirable by itself. For judgments that say little of pairs."
        ),
    ),
    Run.Kind.GRPO: KindText(
        gettext_noop("Improve the policy (GRPO)"),
        gettext_noop(
            "The policy samples several answers per prompt, and learns from their rewards relative to each other."
        ),
    ),
    Run.Kind.REINFORCE: KindText(
        gettext_noop("Improve the policy (REINFORCE)"),
        gettext_noop(
            "Answers with a reward above a baseline become likelier. With RLOO the baseline is the mean of the others."
        ),
    ),
    Run.Kind.ONLINE: KindText(
        gettext_noop("Improve the policy (online DPO)"),
        gettext_noop(
            "The policy samples two answers per prompt, the reward model says which is better, and a step of DPO follows."
        ),
    ),
    Run.Kind.PPO: KindText(
        gettext_noop("Improve the policy (PPO)"),
        gettext_noop(
            "A value model is trained alongside the policy. Needs the most memory and the most care with its settings."
        ),
    ),
    Run.Kind.REJECTION: KindText(
        gettext_noop("Improve the policy (rejection sampling)"),
        gettext_noop(
            "The policy samples several answers per prompt, and is fine-tuned on the one with the highest reward."
        ),
    ),
    Run.Kind.REST: KindText(
        gettext_noop("Improve the policy (ReST)"),
        gettext_noop(
            "The policy samples several answers per prompt, and is fine-tuned in steps on ever fewer of them, the best."
        ),
    ),
    Run.Kind.HINDSIGHT: KindText(
        gettext_noop("Improve the policy (Hindsight)"),
        gettext_noop(
            "The policy learns its best answers under a good instruction and its worst under a bad one. In use it gets the good."
        ),
    ),
    Run.Kind.GENERATE: KindText(
        gettext_noop("Generate answers"),
        gettext_noop(
            "The policy samples several answers per prompt, which can go into the queue for people to rank."
        ),
    ),
    Run.Kind.EVALUATE: KindText(
        gettext_noop("Evaluate a reward model"),
        gettext_noop("Its scores are compared with the judgments of a snapshot. Nothing is trained."),
    ),
    Run.Kind.JUDGE: KindText(
        gettext_noop("Ask an AI judge"),
        gettext_noop(
            "A model compares answers by the constitution. Its opinions are kept apart from people's judgments, and measured by"
            " them."
        ),
    ),
    Run.Kind.REVISE: KindText(
        gettext_noop("Revise answers"),
        gettext_noop(
            "The policy answers, and its answers are revised by the principles of the constitution, to fine-tune on."
        ),
    ),
    Run.Kind.SFT: KindText(
        gettext_noop("Fine-tune on conversations"),
        gettext_noop("Supervised fine-tuning of the policy on a file of conversations."),
    ),
    Run.Kind.PRETRAIN: KindText(
        gettext_noop("Pre-train a small model"),
        gettext_noop("Language modelling on plain text, to try things out without a model from elsewhere."),
    ),
}
"""The cards on the page of runs, and the head of the form."""


def _cancelled(n: int) -> str:
    text = ngettext("%(n)s run stops after its current step.", "%(n)s runs stop after their current step.", n)
    return text % {"n": format_number(n)}


ACTS = {
    "cancel": BulkAct(
        gettext_lazy("Cancel the runs"), bulk_runs.cancel, bulk_runs.undo, _cancelled, is_dangerous=True
    )
}


@login_required
@require_GET
def runs(request: HtmxRequest, slug: str) -> HttpResponseBase:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    listing = Listing(RUNS, me.project, request.GET)
    context = {"kinds": KIND_TEXTS, "acts": ACTS if me.role == Role.LEAD else None}
    return render_list(request, me, listing, "training/runs.html", context)


@login_required
@require_POST
def runs_bulk(request: HttpRequest, slug: str) -> HttpResponse:
    return bulk.act_on_rows(request, member_for(request.user, slug, Role.LEAD), RUNS, ACTS, RunError)


@login_required
@require_POST
def runs_undo(request: HttpRequest, slug: str) -> HttpResponse:
    return bulk.undo(request, member_for(request.user, slug, Role.LEAD), RUNS, ACTS)


@login_required
@require_http_methods(["GET", "POST"])
def run_new(request: HttpRequest, slug: str, kind: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    if kind not in KINDS:
        raise Http404(f"There are no runs of the kind {kind!r}.")
    initial: dict[str, Any] = {
        name: request.GET[name] for name in ("model", "snapshot", "reward_source") if name in request.GET
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
        "text": KIND_TEXTS[Run.Kind(kind)],
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
        "chart_data": chart_data(),
        "has_curves": any(len(points) > 1 for points in state["curves"].values()),
        "newest": [(name, *points[-1]) for name, points in state["curves"].items()],
        "settings": [
            (_(field.metadata["label"]), run.config.get(name, "–"), _(field.metadata["help"]))
            for name, field in KINDS[run.kind].__dataclass_fields__.items()
            if "label" in field.metadata
        ],
        "inputs": _labelled_inputs(run) + _labelled_resources(run),
        "log": RunLog.objects.filter(run=run).values_list("text", flat=True).first(),
    }
    return render(request, "training/run.html", context)


@login_required
@require_GET
def run_live(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The part of the page that changes with the run's state."""
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


def _context(me: Member, run: Run) -> dict[str, Any]:
    report = run.result.get("report") or {}
    # the core counts the responses that it wrote, and `answers` are those that were read from them
    data = {
        name: value
        for name, value in run.result.items()
        if name != "responses" or "answers" not in run.result
    }
    groups = [
        (report_title(run.config, run.inputs), report_values(report)),
        (
            _("At the end of the run"),
            labelled_values(run.result.get("metrics") or {}, without=NOT_IN_RESULTS),
        ),
        (_("Data and resources"), labelled_values(data, without=NOT_IN_RESULTS)),
    ]
    headline_title, first = next(((title, values) for title, values in groups if values), ("", []))
    more = [(title, values[HEADLINE:] if values is first else values) for title, values in groups]
    return {
        "me": me,
        "project": me.project,
        "run": run,
        "output": getattr(run, "output", None),
        "advice": advise(run),
        "headline_title": headline_title,
        "headline": first[:HEADLINE],
        "more_metrics": [(title, values) for title, values in more if values],
        "seconds": run.result.get("seconds"),
        "queued_items": run.result.get("items"),
        "by_degree": accuracy_rows(report, "accuracy_by_degree"),
        "by_length": accuracy_rows(report, "accuracy_by_length"),
        "criteria": criteria_tables(report),
        "calibration_chart": calibration_chart(report.get("reliability", [])),
    }


def _labelled_inputs(run: Run) -> list[tuple[str, str]]:
    """The run's inputs with their labels, as texts."""
    labels = {
        "prompts": _("Prompts"),
        "held_out": _("Held-out prompts"),
        "split": _("Split"),
        "publish": _("Send for annotation"),
        "name": _("Name of the new model"),
        "data": _("File"),
        "prompt_ids": _("Selected prompts"),
        "tag": _("Tag"),
        "safety_tag": _("Safety tag"),
        "ai": _("Use of the opinions"),
        "ai_weight": _("Weight of the opinions"),
        "ai_scale": _("Scale of the opinions"),
    }
    return [(labels.get(name, name), _as_text(value)) for name, value in run.inputs.items()]


def _labelled_resources(run: Run) -> list[tuple[str, str]]:
    """What the run asks of the machines, where it differs from the site's default, and its job at the scheduler."""
    values = [
        (_("Nodes"), run.nodes if run.nodes > 1 else None),
        (_("GPUs"), run.gpus),
        (_("Queue"), run.queue),
        (_("Priority"), run.priority),
        (_("Job of the scheduler"), run.launch.get("name")),
    ]
    return [(label, str(value)) for label, value in values if value]


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return format_number(len(value))
    return str(value).replace("_", "-")


@login_required
@require_GET
def opinion_set_runs(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The part of an opinion set's page that says which runs made it and learned from it."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    opinion_set = get_object_or_404(me.project.opinion_sets, number=number)
    runs = Run.objects.filter(project=me.project).select_related("round__loop")
    context = {
        "project": me.project,
        "made_by": runs.filter(output_opinion_set=opinion_set).first(),
        "learned_from": runs.filter(opinion_set=opinion_set),
    }
    return render(request, "training/opinion_set_runs.html", context)
