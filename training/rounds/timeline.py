"""A round as its page shows it: each step with its state, runs and gates, and a sentence on the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.labels import within_sentence
from annotation.models import Member
from training.configs.fields import Value
from training.models import Round, Run
from training.rounds.gate_thresholds import EXPLAINED, SETTING_OF, format_figure
from training.rounds.settings import changed_settings
from training.rounds.steps import step_of
from training.rounds.steps.base import Awaited, RunStep
from training.rounds.steps.promotion import Promotion

MAX_NAMES = 5


@dataclass(frozen=True)
class GateLine:
    """A gate, with its figures formatted. figure: empty without data. default: the recipe's threshold where the loop has
    another one; otherwise empty. word: what of it the glossary explains; or empty."""

    label: str
    passed: bool
    figure: str
    threshold: str
    default: str
    sentence: str
    word: str


@dataclass(frozen=True)
class RunLine:
    label: str
    run: Run


@dataclass(frozen=True)
class StepLine:
    """state: done, now, held, failed, awaiting, cancelled, or ahead. seconds: estimated; None if unknown. awaits: what it waits
    for, if the round is at it."""

    title: str
    help: str
    state: str
    result: str
    runs: list[RunLine]
    gates: list[GateLine]
    expands_gates: bool
    seconds: float | None
    awaits: Awaited | None = None

    @property
    def gate_counts(self) -> str:
        """How many gates were passed, had no data, and were not passed."""
        unknown = sum(gate.passed and not gate.figure for gate in self.gates)
        failed = sum(not gate.passed for gate in self.gates)
        passed = len(self.gates) - unknown - failed
        counts = [
            ngettext("%(n)s gate passed", "%(n)s gates passed", passed) % {"n": passed},
            ngettext("%(n)s without data", "%(n)s without data", unknown) % {"n": unknown} if unknown else "",
            ngettext("%(n)s not passed", "%(n)s not passed", failed) % {"n": failed} if failed else "",
        ]
        return ", ".join(filter(None, counts))

    @property
    def shows_gates(self) -> bool:
        return self.expands_gates or self.state != "done" or not all(gate.passed for gate in self.gates)


def awaited_by(round: Round) -> Awaited:
    """What an open round waits for: judgments, runs, or a lead's decision; nothing if it is closed."""
    if not round.is_open:
        return Awaited("")
    if round.state == Round.State.WORKING:
        return step_of(round.step).awaits(round)
    leads = round.loop.project.members.filter(role=Member.Role.LEAD).order_by("user__username")
    names = ", ".join(leads.values_list("user__username", flat=True)[:MAX_NAMES])
    return Awaited(_("It is a lead’s turn: %(names)s.") % {"names": names})


def build_timeline(round: Round, awaited: Awaited | None = None) -> list[StepLine]:
    """The lines of a round's page. Its runs should be prefetched."""
    by_part = {run.part: run for run in round.runs.all() if not run.superseded}
    changed = changed_settings(round.options, round.recipe)
    lines = []
    for index, planned in enumerate(round.plan):
        step = step_of(planned["name"])
        lines.append(
            StepLine(
                title=_(planned["title"]),
                help=_(step.help),
                state=_state_of(round, index),
                result=_("left out") if _is_left_out(round, index) else step.result(round),
                runs=[
                    RunLine(step.part_label(part), by_part[part["part"]])
                    for part in planned["parts"]
                    if isinstance(step, RunStep) and part["part"] in by_part
                ],
                gates=[
                    _gate_line(gate, changed) for gate in round.localized_gates if gate["step"] == step.name
                ],
                expands_gates=step.expands_gates,
                seconds=round.estimate.get("steps", {}).get(planned["name"]),
                awaits=awaited if index == round.step_index and round.is_open else None,
            )
        )
    return lines


def _is_left_out(round: Round, index: int) -> bool:
    """Whether the round was ended before that step, and went on after its decision."""
    if "ended_at" not in round.report:
        return False
    names = [planned["name"] for planned in round.plan]
    return names.index(round.report["ended_at"]) < index < names.index(Promotion.name)


def _state_of(round: Round, index: int) -> str:
    if _is_left_out(round, index):
        return "skipped"
    if round.state == Round.State.DONE or index < round.step_index:
        return "done"
    if index > round.step_index:
        return "ahead"
    return "now" if round.state == Round.State.WORKING else str(round.state)


def _gate_line(gate: dict[str, Any], changed: Mapping[str, Value]) -> GateLine:
    name = gate["name"].removeprefix("reward_").removeprefix("safety_")

    def formatted(value: float) -> str:
        return format_figure(name, value, is_share=gate["share"])

    setting = SETTING_OF.get(name, "")
    return GateLine(
        label=gate["label"],
        passed=gate["passed"],
        figure="" if gate["figure"] is None else formatted(gate["figure"]),
        threshold=formatted(gate["threshold"]),
        default=formatted(float(changed[setting])) if setting in changed else "",
        sentence=gate["sentence"],
        word=EXPLAINED.get(setting or name, ""),
    )


def status_sentence(round: Round) -> str:
    """The result of a round, or where it is; what it waits for there is said by `awaited_by`."""
    title = _(round.current_step["title"])
    match round.state:
        case Round.State.DONE:
            return _decision_sentence(round)
        case Round.State.CANCELLED:
            return _("It was cancelled at “%(step)s”. It can be resumed from there.") % {"step": title}
        case Round.State.FAILED:
            return round.error
        case Round.State.HELD:
            text = _(
                "Not passed: %(gates)s. Keep the current policy and go on to its new answers, overrule the gate with a reason,"
                " repeat a part of the round, or cancel it."
            )
            return text % {"gates": ", ".join(round.holding_gates)}
        case Round.State.AWAITING:
            text = _("%(model)s is ready. Check the results, then promote it or not.")
            return text % {"model": round.policy_after}
    if round.decision:
        return _("%(decision)s Now: %(step)s.") % {"decision": _decision_sentence(round), "step": title}
    return _("Now: %(step)s.") % {"step": title}


def _decision_sentence(round: Round) -> str:
    failed = ", ".join(within_sentence(label) for label in round.failed_gates)
    if round.decision == Round.Decision.REJECTED and round.policy_after is None:
        return _(
            "The current policy stays, and no new one was trained: the reward model did not pass %(gates)s."
        ) % {"gates": failed}
    if round.decision == Round.Decision.PROMOTED:
        text = (
            _("%(model)s was promoted though it did not pass: %(gates)s.")
            if failed
            else _("%(model)s was promoted; every gate was passed.")
            if all(gate["figure"] is not None for gate in round.gates)
            else _("%(model)s was promoted; every gate that had data was passed.")
        )
    else:
        text = (
            _("%(model)s was not promoted: it did not pass %(gates)s.")
            if failed
            else _("%(model)s was not promoted, though it passed every gate.")
        )
    return text % {"model": round.policy_after, "gates": failed}
