"""How a round starts and changes its state: by its steps (`advance`), or by a lead (`TRANSITIONS`).

The row is the truth; a message only has it looked at. Whoever looks locks the row, does what the step needs and moves the
round, in one transaction: messages may be lost, late or repeated, and a crash leaves the round as it was. The run of a part
is created in the transaction that enters its step, and a constraint refuses a second one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import audit, events
from annotation.actions import webhook_delivery
from annotation.actions.queue import QueueError
from annotation.actions.snapshots import SnapshotError
from annotation.labels import within_sentence
from annotation.models import User
from training.configs import ConfigError
from training.errors import RunError, describe_error
from training.models import Loop, Round, Run, is_failed
from training.rounds.loops import check_principles
from training.rounds.notices import notify_leads_of_round, settle_notices_of_round
from training.rounds.plan import draft_round
from training.rounds.steps import step_of
from training.rounds.steps.base import RunStep
from training.rounds.steps.collect import Collect, count_new_judgments
from training.rounds.steps.gate_steps import GateStep
from training.rounds.steps.promotion import Promotion, record_decision
from training.runs.actions import cancel_run, resume_run, wake_round

log = logging.getLogger(__name__)

RELATED = (
    *("loop__project", "loop__safety_project", "loop__first_policy", "loop__created_by"),
    *("policy_before", "policy_after", "snapshot", "safety_snapshot", "created_by"),
)


# --- by its steps ---------------------------------------------------------------------------------------------


def start_round(*, loop: Loop, creator: User | None) -> Round:
    """Start a round with the loop's settings of now. creator: None if the schedule starts it.

    Raises:
        RunError: a round is open, prompts, a policy or the constitution of an AI judge are missing, or its principles do not say
            what the judge needs.
    """
    with transaction.atomic():
        Loop.objects.select_for_update().get(pk=loop.pk)
        if (other := loop.rounds.filter(state__in=Round.OPEN_STATES).first()) is not None:
            text = _("%(round)s is still open: a loop has one open round at a time.")
            raise RunError("loop", text % {"round": other})
        if not loop.project.prompts.exists():
            raise RunError("prompts", _("This project has no prompts yet: import some."))
        check_principles(loop)
        round = draft_round(loop)
        round.created_by = creator
        round.save()
        _record("round.started", round, creator, recipe=round.recipe)
        step_of(round.step).enter(round)
        _announce(round)
        _wake(round)
    return round


def advance(round_id: int) -> None:
    """Move a round as far as it can go now. Repeated or concurrent calls change nothing more."""
    while _advance_once(round_id):
        pass


def _advance_once(round_id: int) -> bool:
    """Check the current step; returns whether the next one may be checked at once."""
    try:
        with transaction.atomic():
            round = _try_lock(round_id, Round.State.WORKING, Round.State.FAILED)
            if round is None:
                return False
            step = step_of(round.step)
            if round.state == Round.State.FAILED and not isinstance(step, RunStep):
                return False  # waits for a lead; a failed run, on the other hand, may have been resumed
            result = step.check(round)
            if result.advance:
                _move_to_next_step(round)
                if round.state == Round.State.DONE:
                    notify_leads_of_round(round)
                return round.state == Round.State.WORKING
            if (result.state, result.reason) != (round.state, round.error):
                before = round.state
                _set_state(round, result.state, result.reason)
                if round.state != before:
                    notify_leads_of_round(round)
            return False
    except DatabaseError:
        raise  # nothing was changed; the next message or sweep tries again
    except (RunError, ConfigError, QueueError, SnapshotError, OSError, ValueError, KeyError) as error:
        log.exception("round %s failed", round_id)
        with transaction.atomic():
            round = _try_lock(round_id, Round.State.WORKING)
            if round is not None:
                reason = f"{_(round.current_step['title'])}: {describe_error(error)}"
                _set_state(round, Round.State.FAILED, reason)
                notify_leads_of_round(round)
        return False


def _try_lock(round_id: int, *states: str) -> Round | None:
    """The round, locked until the transaction ends; None if another worker has it, or it is in another state."""
    rows = Round.objects.select_for_update(skip_locked=True, of=("self",)).select_related(*RELATED)
    return rows.filter(pk=round_id, state__in=states).first()


def _move_to_next_step(round: Round) -> None:
    _move_past(round, round.step)


def _move_past(round: Round, step: str) -> None:
    """To the step after that one, or to the end."""
    names = [planned["name"] for planned in round.plan]
    later = names[names.index(step) + 1 :]
    if later:
        _move_to(round, later[0])
    else:
        _set_state(round, Round.State.DONE)


def _move_to(round: Round, step: str) -> None:
    now = timezone.now()
    updated = Round.objects.filter(pk=round.pk, step=round.step, state=round.state).update(
        step=step, step_since=now, state=Round.State.WORKING, error=""
    )
    assert updated == 1, "the row was locked"
    round.step, round.step_since, round.state, round.error = step, now, Round.State.WORKING, ""
    settle_notices_of_round(round)
    step_of(step).enter(round)
    _announce(round)


def _set_state(round: Round, state: str, error: str = "") -> None:
    is_closed = state in (Round.State.DONE, Round.State.CANCELLED)
    if state != round.state:
        settle_notices_of_round(round)
    round.state, round.error = state, error
    round.finished_at = timezone.now() if is_closed else None
    round.save(update_fields=["state", "error", "finished_at"])
    _announce(round)


# --- by a lead ------------------------------------------------------------------------------------------------


def skip_waiting(round: Round, actor: User) -> Round:
    """Move on with the judgments so far.

    Raises:
        RunError: it does not wait for people, or there is no judgment yet.
    """
    with transaction.atomic():
        round = _lock(round, Round.State.WORKING)
        step = step_of(round.step)
        if not step.waits_for_people:
            raise RunError("state", _("This round does not wait for people now."))
        has_snapshot = any(project.snapshots.exists() for project in round.loop.projects)
        if isinstance(step, Collect) and not has_snapshot and not count_new_judgments(round):
            raise RunError("state", _("There are no judgments yet."))
        _move_to_next_step(round)
        _record("round.hastened", round, actor)
        _wake(round)
    return round


def overrule(round: Round, actor: User, reason: str) -> Round:
    """Move on though gates were not passed; the reason is kept.

    Raises:
        RunError: no gate holds it, or the reason is empty.
    """
    reason = reason.strip()
    if not reason:
        raise RunError("reason", _("Say why: the reason is kept with the round."))
    with transaction.atomic():
        round = _lock(round, Round.State.HELD)
        failed = [gate["label"] for gate in round.gates if gate["step"] == round.step and is_failed(gate)]
        overrule = {
            "by": actor.pseudonym,  # stays when the account is erased
            "at": timezone.now().isoformat(),
            "reason": reason,
            "gates": failed,
            "step": round.step,
        }
        round.overrules = [*round.overrules, overrule]
        round.save(update_fields=["overrules"])
        step = step_of(round.step)
        assert isinstance(step, GateStep)
        step.on_pass(round, actor)
        _record("round.overruled", round, actor, gates=failed, reason=reason)
        _move_to_next_step(round)
        _wake(round)
    return round


def decide(round: Round, actor: User, decision: str, note: str = "") -> Round:
    """Promote or reject the new policy; a rejected one leaves the old one current.

    A round that a gate holds can be rejected at once: it leaves out what would improve and compare the policy, and goes on to
    new answers of the current one, so that there are more judgments to learn from.

    Raises:
        RunError: the round does not wait for a decision.
    """
    note = note.strip()
    held = [Round.State.HELD] if decision == Round.Decision.REJECTED else []
    with transaction.atomic():
        round = _lock(round, Round.State.AWAITING, *held)
        if round.state == Round.State.HELD:
            round.report |= {"ended_at": round.step}
            round.save(update_fields=["report"])
        record_decision(round, decision, actor=actor, note=note)
        _record(f"round.{decision}", round, actor, model=str(round.policy_after or ""), note=note)
        _move_past(round, Promotion.name)
        _wake(round)
    return round


def cancel(round: Round, actor: User) -> Round:
    """Stop a round and its runs. It can be resumed.

    Raises:
        RunError: it is done or cancelled.
    """
    with transaction.atomic():
        round = _lock(round, *Round.OPEN_STATES)
        for run in round.runs.filter(state__in=Run.OPEN_STATES):
            cancel_run(run)
        _record("round.cancelled", round, actor)
        _set_state(round, Round.State.CANCELLED)
    return round


def resume(round: Round, actor: User) -> Round:
    """Continue a cancelled or failed round at its step, its runs from their checkpoints.

    Raises:
        RunError: it is neither, or another round of the loop is open.
    """
    try:
        with transaction.atomic():
            round = _lock(round, Round.State.CANCELLED, Round.State.FAILED)
            for run in round.runs.filter(superseded=False, state__in=[Run.State.CANCELLED, Run.State.FAILED]):
                resume_run(run)
            _record("round.resumed", round, actor)
            _set_state(round, Round.State.WORKING)
            _wake(round)
    except IntegrityError:
        raise RunError("state", _("Another round of this loop is open: one is open at a time.")) from None
    return round


def retry(round: Round, actor: User, step: str) -> Round:
    """Repeat a round from a step that it has reached. The results of that step and of later ones are replaced.

    Raises:
        RunError: it is done or cancelled, or the step cannot be repeated.
    """
    with transaction.atomic():
        round = _lock(round, *Round.OPEN_STATES)
        if step not in retriable_steps(round):
            raise RunError(
                "step", _("A round can be repeated from a step that it has reached, before its decision.")
            )
        index = next(n for n, planned in enumerate(round.plan) if planned["name"] == step)
        repeated = round.plan[index:]
        parts = [part["part"] for planned in repeated for part in planned["parts"]]
        for run in round.runs.filter(part__in=parts, superseded=False, state__in=Run.OPEN_STATES):
            cancel_run(run)
        round.runs.filter(part__in=parts, superseded=False).update(superseded=True)
        names = {planned["name"] for planned in repeated}
        keys = {key for name in names for key in step_of(name).report_keys}
        round.gates = [gate for gate in round.gates if gate["step"] not in names]
        round.report = {key: value for key, value in round.report.items() if key not in keys}
        round.save(update_fields=["gates", "report"])
        _record("round.retried", round, actor, step=step)
        _move_to(round, step)
        _wake(round)
    return round


def retriable_steps(round: Round) -> list[str]:
    """The names of the steps from which a round can be repeated. Items that annotators may have seen stay in the queue, so
    the steps that send them are not among them."""
    if round.decision or not round.is_open:
        return []
    reached = [planned["name"] for planned in round.plan[: round.step_index + 1]]
    return [name for name in reached if step_of(name).can_retry]


TRANSITIONS: dict[str, Callable[[Round, User, Mapping[str, Any]], Round]] = {
    "cancel": lambda this, actor, data: cancel(this, actor),
    "resume": lambda this, actor, data: resume(this, actor),
    "retry": lambda this, actor, data: retry(this, actor, data.get("step", "")),
    "go-on": lambda this, actor, data: skip_waiting(this, actor),
    "overrule": lambda this, actor, data: overrule(this, actor, data.get("reason", "")),
    "promote": lambda this, actor, data: decide(this, actor, Round.Decision.PROMOTED, data.get("note", "")),
    "reject": lambda this, actor, data: decide(
        this, actor, Round.Decision.REJECTED, data.get("note") or data.get("reason", "")
    ),
}
"""What a lead can do with a round, by its name in URLs."""


def allowed_transitions(round: Round) -> set[str]:
    """Of `TRANSITIONS`, those that the round's state allows."""
    allowed = set()
    if round.is_open:
        allowed.add("cancel")
        if retriable_steps(round):
            allowed.add("retry")
    if round.state in (Round.State.CANCELLED, Round.State.FAILED):
        allowed.add("resume")
    if round.state == Round.State.WORKING and step_of(round.step).waits_for_people:
        allowed.add("go-on")
    if round.state == Round.State.HELD:
        allowed |= {"overrule", "reject"}
    if round.state == Round.State.AWAITING:
        allowed |= {"promote", "reject"}
    return allowed


def _lock(round: Round, *states: str) -> Round:
    """The round, read again and locked.

    Raises:
        RunError: it is in another state by now.
    """
    rows = Round.objects.select_for_update(of=("self",)).select_related(*RELATED)
    locked = rows.filter(pk=round.pk, state__in=states).first()
    if locked is None:
        state = Round.State(Round.objects.values_list("state", flat=True).get(pk=round.pk))
        text = _("%(round)s is %(state)s now: this is not possible.")
        raise RunError("state", text % {"round": round, "state": within_sentence(state.label)})
    return locked


def _record(verb: str, round: Round, actor: User | None, **data: Any) -> None:
    subject = f"{round.loop}, round {round.number}"
    audit.record(verb, project=round.loop.project, actor=actor, subject=subject, **data)


def _wake(round: Round) -> None:
    transaction.on_commit(lambda: wake_round(round.pk))


def _announce(round: Round) -> None:
    event = {"kind": "round", "round": round.pk, "state": round.state, "step": round.step}
    for project in round.loop.projects:
        events.announce(events.project_group(project.pk), event)
        webhook_delivery.notify(project, "round.changed", loop=round.loop_id, number=round.number, **event)
        if round.state == Round.State.HELD:
            webhook_delivery.notify(
                project, "round.held", loop=round.loop_id, number=round.number, reason=round.error, **event
            )
