"""Rounds: what people ask of them, and how they move.

The row says where a round stands; a message only has it looked at. Whoever looks takes the row's lock, does what the step
asks for and moves the round in one transaction: so messages may be lost, late or doubled, and whoever dies in the middle
leaves the round as it was. A part's run is created in the transaction that enters its step, once (a constraint), so no run
is started twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.db import DatabaseError, IntegrityError, OperationalError, transaction
from django.utils import timezone

from annotation import analytics, audit, events
from annotation.actions import webhooks
from annotation.actions.queue import QueueError
from annotation.actions.snapshots import FreezeError
from annotation.models import Project, User
from annotation.queries import progress
from training.configs import ConfigError
from training.errors import RunError
from training.models import Loop, ModelVersion, Round, Run
from training.registry import actions as model_actions
from training.rounds import context as round_context
from training.rounds import run_configs, steps, time_estimates
from training.rounds.plan import Facts, plan_of
from training.rounds.recipes import RECIPES
from training.rounds.settings import settings_from
from training.runs import actions as run_actions
from training.runs.queries import demonstrations

log = logging.getLogger(__name__)

ROUND_FIELDS = (
    *("loop__project", "loop__safety_project", "loop__first_policy", "loop__created_by"),
    *("policy_before", "policy_after", "snapshot", "safety_snapshot", "created_by"),
)


# --- loops ----------------------------------------------------------------------------------------------------


def save_loop(
    *,
    project: Project,
    creator: User,
    loop: Loop | None = None,
    name: str = "",
    recipe: str,
    options: Mapping[str, Any],
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    safety_project: Project | None = None,
    after_judgments: int | None = None,
    weekdays: list[int] | None = None,
    hour: int = 6,
    active: bool = True,
) -> Loop:
    """Make a loop, or change one: open rounds keep what they were started with.

    Args:
        options: of `RoundSettings`, what differs from the recipe's defaults.
        configs: settings of its runs, by kind; `*` for all kinds.

    Raises:
        RunError: there is no policy to begin with, or the name is taken.
        ConfigError: a setting is unknown or out of its bounds; a `ConfigsError`, where it is one of its runs'.
    """
    settings_from(options, recipe)
    run_configs.check(configs or {}, RECIPES[recipe].stages)
    if loop is None:
        policy = model_actions.current_model(project, ModelVersion.Kind.POLICY)
        if policy is None:
            raise RunError("policy", "This project has no policy yet: add one on the Models page.")
        loop = Loop(project=project, created_by=creator, first_policy=policy)
    loop.name = name or loop.name or RECIPES[recipe].title
    if Loop.objects.filter(project=project, name=loop.name).exclude(pk=loop.pk).exists():
        raise RunError("name", f"There is a loop called {loop.name!r} already.")
    if safety_project == project:
        raise RunError("safety_project", "Safety is judged in a project of its own.")
    loop.recipe, loop.options, loop.configs = (
        recipe,
        dict(options),
        {k: dict(v) for k, v in (configs or {}).items()},
    )
    loop.safety_project, loop.after_judgments = safety_project, after_judgments
    loop.weekdays, loop.hour, loop.active = sorted(set(weekdays or [])), hour, active
    with transaction.atomic():
        loop.save()
        audit.record("loop.changed", project=project, actor=creator, subject=loop.name, recipe=recipe)
    return loop


# --- rounds begin ---------------------------------------------------------------------------------------------


def draft(loop: Loop) -> Round:
    """The round that would begin now, not saved: its plan, its settings, and what it will take."""
    policy = model_actions.current_model(loop.project, ModelVersion.Kind.POLICY)
    if policy is None:
        raise RunError("policy", "This project has no policy yet: add one on the Models page.")
    options = settings_from(loop.options, loop.recipe)
    plan = plan_of(RECIPES[loop.recipe], options, facts_of(loop, options.judgments))
    latest = loop.rounds.first()
    return Round(
        loop=loop,
        number=latest.number + 1 if latest else 1,
        plan=plan,
        step=plan[0]["name"],
        step_since=timezone.now(),
        recipe=loop.recipe,
        options=options.to_dict(),
        configs=loop.configs,
        estimate=time_estimates.of(loop.project, plan),
        policy_before=policy,
    )


def facts_of(loop: Loop, judgments: int) -> Facts:
    projects = [loop.project, *([loop.safety_project] if loop.safety_project else [])]
    waiting = sum(progress(project).left for project in projects)
    new = sum(analytics.new_judgment_count(project, project.snapshots.first()) for project in projects)
    old = [model_actions.current_model(project, ModelVersion.Kind.REWARD) is not None for project in projects]
    return Facts(
        asks_first=waiting + new < judgments,
        demonstrations=demonstrations(loop.project).exists(),
        safety=loop.safety_project is not None,
        old_reward=old[0],
        old_safety=len(old) > 1 and old[1],
    )


def start_round(*, loop: Loop, creator: User | None) -> Round:
    """Begin a round; its settings are frozen now. `creator` is None where the loop's schedule begins it.

    Raises:
        RunError: one is open, or there is nothing to begin with.
    """
    with transaction.atomic():
        Loop.objects.select_for_update().get(pk=loop.pk)
        if (standing := loop.rounds.filter(state__in=Round.OPEN_STATES).first()) is not None:
            raise RunError("loop", f"{standing} is not over yet: one round goes on at a time.")
        if not loop.project.prompts.exists():
            raise RunError("prompts", "This project has no prompts yet: import some.")
        round = draft(loop)
        round.created_by = creator
        round.save()
        audit.record(
            "round.started", project=loop.project, actor=creator, subject=_title(round), recipe=round.recipe
        )
        steps.enter(round)
        _announce(round)
        _wake(round)
    return round


def begin_due(now: datetime | None = None) -> list[Round]:
    """Begin the rounds whose time has come: enough new judgments, or the day and the hour."""
    now = now or timezone.now()
    begun = []
    for loop in Loop.objects.filter(active=True).select_related("project", "safety_project"):
        if (
            not (loop.after_judgments or loop.weekdays)
            or loop.rounds.filter(state__in=Round.OPEN_STATES).exists()
        ):
            continue
        if _is_due(loop, now):
            try:
                begun.append(start_round(loop=loop, creator=None))
            except (RunError, ConfigError) as error:
                log.warning("no round of loop %s: %s", loop.pk, error)
    return begun


def _is_due(loop: Loop, now: datetime) -> bool:
    if loop.after_judgments:
        new = analytics.new_judgment_count(loop.project, loop.project.snapshots.first())
        if new >= loop.after_judgments:
            return True
    today = loop.rounds.filter(created_at__date=now.date()).exists()
    return now.weekday() in loop.weekdays and now.hour >= loop.hour and not today


# --- rounds move ----------------------------------------------------------------------------------------------


def advance(round_id: int) -> None:
    """Have a round do all that it can do now. Doing it again, or at the same time elsewhere, changes nothing."""
    while _advance_once(round_id):
        pass


def _advance_once(round_id: int) -> bool:
    """One look at a round; whether it moved on."""
    try:
        with transaction.atomic():
            round = _locked(round_id, Round.State.WORKING, Round.State.FAILED)
            if round is None or (round.state == Round.State.FAILED and round.now["does"] != "runs"):
                return False  # what failed by itself waits for a lead; a run may have been resumed
            outcome = steps.look(round)
            if outcome.goes_on:
                _move_on(round)
                return round.state == Round.State.WORKING
            if (outcome.state, outcome.sentence) != (round.state, round.error):
                _stand(round, outcome.state, outcome.sentence)
            return False
    except (OperationalError, DatabaseError):
        raise  # nothing was changed; the next look tries again
    except (RunError, ConfigError, QueueError, FreezeError, OSError, ValueError, KeyError) as error:
        log.exception("round %s cannot go on", round_id)
        with transaction.atomic():
            round = _locked(round_id, Round.State.WORKING)
            if round is not None:
                _stand(round, Round.State.FAILED, f"{round.now['title']}: {error}")
        return False


def _locked(round_id: int, *states: str) -> Round | None:
    """The round's row, held until the transaction ends; None if another worker has it, or it is in another state."""
    rows = Round.objects.select_for_update(skip_locked=True, of=("self",)).select_related(*ROUND_FIELDS)
    return rows.filter(pk=round_id, state__in=states).first()


def _move_on(round: Round) -> None:
    """To the next step of the plan, or to the end."""
    if round.place + 1 == len(round.plan):
        _stand(round, Round.State.DONE)
        return
    _move(round, round.plan[round.place + 1]["name"])


def _move(round: Round, step: str) -> None:
    now = timezone.now()
    moved = Round.objects.filter(pk=round.pk, step=round.step, state=round.state).update(
        step=step, step_since=now, state=Round.State.WORKING, error=""
    )
    assert moved == 1, "the row was locked"
    round.step, round.step_since, round.state, round.error = step, now, Round.State.WORKING, ""
    steps.enter(round)
    _announce(round)


def _stand(round: Round, state: str, sentence: str = "") -> None:
    over = state in (Round.State.DONE, Round.State.CANCELLED)
    round.state, round.error = state, sentence
    round.finished_at = timezone.now() if over else None
    round.save(update_fields=["state", "error", "finished_at"])
    _announce(round)


# --- what people ask ------------------------------------------------------------------------------------------


def go_on(round: Round, actor: User) -> Round:
    """Have a round not wait for people any longer.

    Raises:
        RunError: it does not wait for people, or they have said nothing yet.
    """
    with transaction.atomic():
        held = _held(round, Round.State.WORKING)
        if held.now["does"] not in ("collect", "people"):
            raise RunError("state", "This round does not wait for people now.")
        frozen = any(project.snapshots.exists() for project in round_context.projects_of(held))
        if held.now["does"] == "collect" and not frozen and not round_context.new_judgments(held):
            raise RunError("state", "Nobody has judged anything yet.")
        _move_on(held)
        _noted("round.hastened", held, actor)
        _wake(held)
    return held


def overrule(round: Round, actor: User, reason: str) -> Round:
    """Let a round pass a gate that said no, for a reason that is kept.

    Raises:
        RunError: it is not held by a gate, or no reason is given.
    """
    reason = reason.strip()
    if not reason:
        raise RunError("reason", "Say why: the reason is kept with the round.")
    with transaction.atomic():
        held = _held(round, Round.State.HELD)
        failed = [gate["label"] for gate in held.gates if gate["step"] == held.step and not gate["passed"]]
        held.overrules = [
            *held.overrules,
            {
                "by": actor.pseudonym,  # what outlives an erased account
                "at": timezone.now().isoformat(),
                "reason": reason,
                "gates": failed,
                "step": held.step,
            },
        ]
        held.save(update_fields=["overrules"])
        if held.now["does"] == "reward_gates":
            steps.promote_rewards(held, actor)
        _noted("round.overruled", held, actor, gates=failed, reason=reason)
        _move_on(held)
        _wake(held)
    return held


def decide(round: Round, actor: User, decision: str, note: str = "") -> Round:
    """Promote the round's policy, or do not: then the old one stays current. Either way people are asked anew.

    Raises:
        RunError: the round does not wait for that.
    """
    with transaction.atomic():
        held = _held(round, Round.State.AWAITING)
        steps.decide(held, decision, actor=actor, note=note.strip())
        _noted(f"round.{decision}", held, actor, model=str(held.policy_after), note=note.strip())
        _move_on(held)
        _wake(held)
    return held


def cancel(round: Round, actor: User) -> Round:
    """Stop a round and its runs. It can be resumed.

    Raises:
        RunError: it is over.
    """
    with transaction.atomic():
        held = _held(round, *Round.OPEN_STATES)
        for run in held.runs.filter(state__in=Run.OPEN_STATES):
            run_actions.cancel_run(run)
        _noted("round.cancelled", held, actor)
        _stand(held, Round.State.CANCELLED)
    return held


def resume(round: Round, actor: User) -> Round:
    """Go on with a cancelled or failed round where it stood; its runs go on from their checkpoints.

    Raises:
        RunError: it is neither, or another round of the loop is open.
    """
    try:
        with transaction.atomic():
            held = _held(round, Round.State.CANCELLED, Round.State.FAILED)
            for run in held.runs.filter(superseded=False, state__in=[Run.State.CANCELLED, Run.State.FAILED]):
                run_actions.resume_run(run)
            _noted("round.resumed", held, actor)
            _stand(held, Round.State.WORKING)
            _wake(held)
    except IntegrityError:
        raise RunError("state", "Another round of this loop is open: one goes on at a time.") from None
    return held


def retry(round: Round, actor: User, step: str) -> Round:
    """Do a round again from a step that it has reached; what came of that step and later ones is replaced.

    Raises:
        RunError: it is over, or the step cannot be done again.
    """
    with transaction.atomic():
        held = _held(round, *Round.OPEN_STATES)
        if step not in retriable(held):
            raise RunError(
                "step", "A round can be done again from a step that it has reached, not past its decision."
            )
        place = next(n for n, one in enumerate(held.plan) if one["name"] == step)
        later = held.plan[place:]
        redone = [part["part"] for one in later for part in one["parts"]]
        for run in held.runs.filter(part__in=redone, superseded=False):
            if run.is_open:
                run_actions.cancel_run(run)
        held.runs.filter(part__in=redone, superseded=False).update(superseded=True)
        names = {one["name"] for one in later}
        held.gates = [gate for gate in held.gates if gate["step"] not in names]
        held.report = {} if "policy-gates" in names else held.report
        held.save(update_fields=["gates", "report"])
        _noted("round.retried", held, actor, step=step)
        _move(held, step)
        _wake(held)
    return held


def retriable(round: Round) -> list[str]:
    """The steps from which a round may be done again: those reached since the judgments were frozen. What was put in front
    of people stays there, so steps that ask them are not done twice."""
    if round.decision or not round.is_open:
        return []
    asked = {"ask", "collect", "decide"}
    reached = [one for one in round.plan[: round.place + 1] if one["does"] not in asked]
    return [one["name"] for one in reached if not one["name"].startswith("first-")]


def _held(round: Round, *states: str) -> Round:
    """The round's row, locked, for a person who asks something of it.

    Raises:
        RunError: it is in another state by now.
    """
    rows = Round.objects.select_for_update(of=("self",)).select_related(*ROUND_FIELDS)
    held = rows.filter(pk=round.pk, state__in=states).first()
    if held is None:
        now = Round.objects.values_list("state", flat=True).get(pk=round.pk)
        raise RunError("state", f"{round} is {now} now: that cannot be done with it.")
    return held


def _noted(verb: str, round: Round, actor: User, **data: Any) -> None:
    audit.record(verb, project=round.loop.project, actor=actor, subject=_title(round), **data)


def _title(round: Round) -> str:
    return f"{round.loop}, round {round.number}"


def _wake(round: Round) -> None:
    transaction.on_commit(lambda: run_actions.wake_round(round.pk))


def _announce(round: Round) -> None:
    event = {"kind": "round", "round": round.pk, "state": round.state, "step": round.step}
    for project in round_context.projects_of(round):
        events.announce(events.project_group(project.pk), event)
        webhooks.tell(project, "round.changed", loop=round.loop_id, number=round.number, **event)


VERBS: dict[str, Callable[[Round, User, Mapping[str, Any]], Round]] = {
    "cancel": lambda one, actor, _: cancel(one, actor),
    "resume": lambda one, actor, _: resume(one, actor),
    "retry": lambda one, actor, given: retry(one, actor, given.get("step", "")),
    "go-on": lambda one, actor, _: go_on(one, actor),
    "overrule": lambda one, actor, given: overrule(one, actor, given.get("reason", "")),
    "promote": lambda one, actor, given: decide(one, actor, Round.Decision.PROMOTED, given.get("note", "")),
    "reject": lambda one, actor, given: decide(one, actor, Round.Decision.REJECTED, given.get("note", "")),
}
"""What a lead can do with a round, as it is called in addresses."""
