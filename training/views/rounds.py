"""The loop's rounds: their timelines, starting one, and what a lead decides about one."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.access import Role, current_user, member_for, project_for
from annotation.models import Judgment, Member, User
from training.configs import ConfigError
from training.errors import RunError, describe_error
from training.models import Loop, ModelVersion, Round, Run
from training.registry.actions import current_model
from training.rounds import charts, transitions
from training.rounds.evaluation import overoptimisation_warning
from training.rounds.forms import LoopForm
from training.rounds.gate_thresholds import describe_gates
from training.rounds.plan import describe_learning_rates, draft_round
from training.rounds.queries import rounds_of
from training.rounds.queue_preview import describe_queue
from training.rounds.recipes import RECIPES
from training.rounds.schedule import new_judgments
from training.rounds.settings import RoundSettings, settings_of
from training.rounds.timeline import awaited_by, build_timeline, status_sentence
from training.runs.curves import MOST_RUNS
from training.runs.estimates import describe_price

SUCCESS_MESSAGES = {
    "cancel": gettext_lazy("The round was cancelled. It can be resumed."),
    "resume": gettext_lazy("The round continues."),
    "retry": gettext_lazy("The round continues from the selected step."),
    "go-on": gettext_lazy("The round continues with the judgments so far."),
    "overrule": gettext_lazy("The gate was overruled. Your reason is kept with the round."),
    "promote": gettext_lazy("The new policy is now the current one."),
    "reject": gettext_lazy("The old policy remains the current one."),
}

MAX_DISPUTED_SHOWN = 8


@login_required
@require_GET
def rounds_page(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return render(request, "training/rounds.html", _overview(me))


@login_required
@require_GET
def rounds_live(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that is refreshed when something happens in the project."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return render(request, "training/rounds.html#live", _overview(me))


def _overview(me: Member) -> dict[str, Any]:
    rounds = list(rounds_of(me.project).prefetch_related("runs__project"))
    loops = [
        {
            "loop": loop,
            "recipe": RECIPES[loop.recipe],
            "open": next(
                (_details(item) for item in rounds if item.loop_id == loop.pk and item.is_open), None
            ),
            "new": new_judgments(loop),
            "closed": [_summary(item) for item in rounds if item.loop_id == loop.pk and not item.is_open],
            "curves": _curves([item for item in rounds if item.loop_id == loop.pk]),
        }
        for loop in me.project.loops.select_related("safety_project")
    ]
    return {"me": me, "project": me.project, "loops": loops, "recipes": RECIPES.values()}


def _curves(rounds: list[Round]) -> list[tuple[str, str]]:
    """The parts whose curves the newest rounds can lay over one another, each with the query string of its runs."""
    labels = {"reward": _("reward models"), "improve-1": _("policies")}
    found = []
    for part, label in labels.items():
        runs = [
            run.pk
            for item in rounds
            for run in item.runs.all()
            if run.part == part and not run.superseded and run.state == Run.State.DONE
        ]
        if len(runs) > 1:
            found.append((label, urlencode([("run", pk) for pk in sorted(runs[:MOST_RUNS])])))
    return found


def _details(round: Round) -> dict[str, Any]:
    return {
        "round": round,
        "steps": build_timeline(round, awaited_by(round)),
        "status": status_sentence(round),
        "allowed": transitions.allowed_transitions(round),
    }


def _summary(round: Round) -> dict[str, Any]:
    gates = {gate["name"]: gate for gate in round.gates}
    win_rate = next(iter(charts.win_rates(round.report)), None)
    measured = next(
        (run for run in round.runs.all() if run.part == "measure-reward" and not run.superseded), None
    )
    return {
        "round": round,
        "status": status_sentence(round),
        "accuracy": gates.get("reward_accuracy", {}).get("figure"),
        "pairs": (measured.result.get("report") or {}).get("pairs") if measured else None,
        "only_new": bool(measured and measured.inputs.get("after")),
        "win_rate": win_rate,
    }


@login_required
@require_http_methods(["GET", "POST"])
def round_new(request: HttpRequest, slug: str) -> HttpResponse:
    """One form for the loop's recipe, settings and schedule. It saves them, and starts a round unless told not to."""
    me = member_for(request.user, slug, Role.LEAD)
    loop_id = request.GET.get("loop", "")
    loops = me.project.loops
    loop = get_object_or_404(loops, pk=loop_id) if loop_id.isdecimal() else loops.first()
    form = LoopForm(me, loop, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and (saved := form.save()):
        if "only_save" in request.POST:
            messages.success(request, _("Saved. The next round uses these settings."))
            return redirect("rounds", slug)
        try:
            return redirect(transitions.start_round(loop=saved, creator=current_user(request)))
        except (RunError, ConfigError) as error:
            form.add_error(None, describe_error(error))
    draft = _draft(loop)
    settings = settings_of(draft) if draft else RoundSettings()
    context = {
        "me": me,
        "project": me.project,
        "form": form,
        "loop": loop,
        "open": loop.rounds.filter(state__in=Round.OPEN_STATES).first() if loop else None,
        "recipes": RECIPES.values(),
        "draft": draft,
        "learning_rates": describe_learning_rates(draft) if draft else [],
        "price": describe_price(draft.estimate["run_seconds"]) if draft else "",
        "unknown_kinds": [Run.Kind(kind).label for kind in draft.estimate["unknown"]] if draft else [],
        "queue_texts": describe_queue(
            loop.projects if loop else [me.project],
            settings,
            current_model(me.project, ModelVersion.Kind.POLICY),
        ),
        "gate_thresholds": describe_gates(settings, draft.recipe) if draft else describe_gates(settings),
    }
    return render(request, "training/round_new.html", context, status=422 if form.errors else 200)


def _draft(loop: Loop | None) -> Round | None:
    """The next round with the loop's settings; None if there is no loop yet."""
    try:
        return draft_round(loop) if loop else None
    except (RunError, ConfigError):
        return None


@login_required
@require_GET
def round_page(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return render(request, "training/round.html", _context(me, pk))


@login_required
@require_GET
def round_live(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The part of the page that is refreshed when the round changes."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return render(request, "training/round.html#live", _context(me, pk))


def _context(me: Member, pk: int) -> dict[str, Any]:
    round = get_object_or_404(rounds_of(me.project).prefetch_related("runs__project"), pk=pk)
    report = round.report
    disputed = report.get("odd", [])[:MAX_DISPUTED_SHOWN]
    retriable = set(transitions.retriable_steps(round))
    return {
        "me": me,
        "project": me.project,
        **_details(round),
        "win_rates": charts.win_rates(report),
        "by_tag": charts.win_rates_by_tag(report),
        "by_length": charts.win_rates_by_length(report),
        "overoptimisation": overoptimisation_warning(report["wins"]) if report.get("wins") else "",
        "reward_by_kl": charts.reward_by_kl(report.get("reward_by_kl", [])),
        "kept_rewards": charts.kept_rewards(report.get("reward_by_kl", [])),
        "disputed": Judgment.objects.filter(pk__in=disputed).select_related("item__prompt", "annotator")
        if disputed
        else [],
        "gate_thresholds": [] if report.get("wins") else describe_gates(settings_of(round), round.recipe),
        "recipe": RECIPES[round.recipe],
        "overrules": _describe_overrules(round),
        "retriable": [step for step in round.plan if step["name"] in retriable],
        "settings": LoopForm.describe(round.options, round.recipe),
    }


def _describe_overrules(round: Round) -> list[dict[str, Any]]:
    """With usernames in place of pseudonyms, except for erased accounts, and the gates' labels in the reader's language."""
    users = User.objects.filter(pseudonym__in={item["by"] for item in round.overrules}, erased_at=None)
    names = {user.pseudonym: user.username for user in users}
    labels = {
        stored["label"]: gate["label"]
        for stored, gate in zip(round.gates, round.localized_gates, strict=True)
    }
    return [
        item
        | {
            "by": names.get(item["by"], item["by"]),
            "gates": [labels.get(label, label) for label in item["gates"]],
        }
        for item in round.overrules
    ]


@login_required
@require_POST
def round_act(request: HttpRequest, slug: str, pk: int, verb: str) -> HttpResponse:
    project = project_for(request.user, slug, Role.LEAD)
    round = get_object_or_404(rounds_of(project), pk=pk)
    if verb not in transitions.TRANSITIONS:
        raise Http404(f"There is no action {verb!r} on a round.")
    try:
        transitions.TRANSITIONS[verb](round, current_user(request), request.POST)
    except RunError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, SUCCESS_MESSAGES[verb])
    return redirect(round)
