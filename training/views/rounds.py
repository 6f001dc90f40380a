"""The loop: its rounds as a timeline, beginning one, deciding about one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.access import Role, current_user, member_for, project_for
from annotation.models import Judgment, Member, User
from training.configs import ConfigError
from training.errors import RunError
from training.models import Loop, Round, Run
from training.rounds import context as round_context
from training.rounds import gates, timeline, transitions
from training.rounds.forms import LoopForm
from training.rounds.queries import rounds_of
from training.rounds.recipes import RECIPES
from training.rounds.settings import RoundSettings

SAID = {
    "cancel": "The round was cancelled. It can be resumed.",
    "resume": "The round goes on.",
    "retry": "That part of the round is done again.",
    "go-on": "The round goes on with what people have said.",
    "overrule": "The gate was overruled; your reason is kept with the round.",
    "promote": "The new policy is the current one now.",
    "reject": "The old policy stays current.",
}

ODD_SHOWN = 8


@login_required
@require_GET
def rounds_page(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return render(request, "training/rounds.html", _overview(me))


@login_required
@require_GET
def rounds_live(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that is fetched again when something happens in the project."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return render(request, "training/rounds.html#live", _overview(me))


def _overview(me: Member) -> dict[str, Any]:
    found = list(rounds_of(me.project).prefetch_related("runs__project"))
    loops = [
        {
            "loop": loop,
            "recipe": RECIPES[loop.recipe],
            "open": next((_shown(one) for one in found if one.loop_id == loop.pk and one.is_open), None),
            "over": [_summary(one) for one in found if one.loop_id == loop.pk and not one.is_open],
        }
        for loop in me.project.loops.select_related("safety_project")
    ]
    return {"me": me, "project": me.project, "loops": loops, "recipes": RECIPES.values()}


def _shown(round: Round) -> dict[str, Any]:
    return {
        "round": round,
        "steps": timeline.of(round),
        "verdict": timeline.verdict(round),
        "can": timeline.can(round),
    }


def _summary(round: Round) -> dict[str, Any]:
    gates = {gate["name"]: gate for gate in round.gates}
    wins = next(iter(timeline.wins(round.report.get("wins", []))), None)
    return {
        "round": round,
        "verdict": timeline.verdict(round),
        "accuracy": gates.get("reward_accuracy", {}).get("figure"),
        "wins": wins,
    }


@login_required
@require_http_methods(["GET", "POST"])
def round_new(request: HttpRequest, slug: str) -> HttpResponse:
    """Recipe, settings and data in one form; it keeps them as the loop's, and begins a round."""
    me = member_for(request.user, slug, Role.LEAD)
    wanted = request.GET.get("loop", "")
    loop = get_object_or_404(me.project.loops, pk=wanted) if wanted.isdecimal() else me.project.loops.first()
    form = LoopForm(me, loop, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and (saved := form.save()):
        if "only_save" in request.POST:
            messages.success(request, "Saved. The next round takes these settings.")
            return redirect("rounds", slug)
        try:
            return redirect(transitions.start_round(loop=saved, creator=current_user(request)))
        except (RunError, ConfigError) as error:
            form.add_error(None, str(error))
    draft = _draft(loop)
    context = {
        "me": me,
        "project": me.project,
        "form": form,
        "loop": loop,
        "open": loop.rounds.filter(state__in=Round.OPEN_STATES).first() if loop else None,
        "recipes": RECIPES.values(),
        "draft": draft,
        "unknown": [Run.Kind(kind).label for kind in draft.estimate["unknown"]] if draft else [],
        "wanted": gates.wanted(round_context.settings_of(draft) if draft else RoundSettings()),
    }
    return render(request, "training/round_new.html", context, status=422 if form.errors else 200)


def _draft(loop: Loop | None) -> Round | None:
    """The next round as the loop's settings have it, for what it will take; None where there is no loop yet."""
    try:
        return transitions.draft(loop) if loop else None
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
    """The part of the page that is fetched again when the round moves."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return render(request, "training/round.html#live", _context(me, pk))


def _context(me: Member, pk: int) -> dict[str, Any]:
    round = get_object_or_404(rounds_of(me.project).prefetch_related("runs__project"), pk=pk)
    report = round.report
    odd = report.get("odd", [])[:ODD_SHOWN]
    retriable = set(transitions.retriable(round))
    return {
        "me": me,
        "project": me.project,
        **_shown(round),
        "wins": timeline.wins(report.get("wins", [])),
        "by_tag": timeline.wins(report.get("by_tag", [])),
        "by_length": timeline.wins(report.get("by_length", [])),
        "curves": timeline.curves(report.get("reward_by_kl", [])),
        "odd": Judgment.objects.filter(pk__in=odd).select_related("item__prompt", "annotator") if odd else [],
        "wanted": [] if report.get("wins") else gates.wanted(round_context.settings_of(round)),
        "recipe": RECIPES[round.recipe],
        "overrules": _named(round.overrules),
        "retriable": [step for step in round.plan if step["name"] in retriable],
        "settings": LoopForm.described(round.options),
    }


def _named(overrules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the names of those who have not left since."""
    people = User.objects.filter(pseudonym__in={one["by"] for one in overrules}, erased_at=None)
    names = {user.pseudonym: user.username for user in people}
    return [one | {"by": names.get(one["by"], one["by"])} for one in overrules]


@login_required
@require_POST
def round_act(request: HttpRequest, slug: str, pk: int, verb: str) -> HttpResponse:
    project = project_for(request.user, slug, Role.LEAD)
    round = get_object_or_404(rounds_of(project), pk=pk)
    if verb not in transitions.VERBS:
        raise Http404(f"A round cannot be told to {verb!r}.")
    try:
        transitions.VERBS[verb](round, current_user(request), request.POST)
    except RunError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, SAID[verb])
    return redirect(round)
