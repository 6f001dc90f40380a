"""The base classes of a round's steps, and what they plan and return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NotRequired, TypedDict

from django.utils.translation import gettext as _

from annotation.logic.durations import duration
from annotation.models import OpinionSet, Project, Snapshot
from training.models import ModelVersion, Round, Run
from training.registry.actions import free_name, names_in_use
from training.rounds import run_configs
from training.rounds.recipes import Improve, Recipe, Reward, SafetyReward, Stage
from training.rounds.settings import RoundSettings
from training.runs.actions import start_run


class PlannedPart(TypedDict):
    """A run of a step, as `Round.plan` stores it: its name within the round (`Run.part`), its kind, the settings that differ
    from that kind's defaults, and what it learns from an AI judge."""

    part: str
    kind: str
    config: dict[str, Any]
    ai: NotRequired[str]


def planned_part(name: str, stage: Stage) -> PlannedPart:
    part: PlannedPart = {"part": name, "kind": stage.kind, "config": dict(stage.config)}
    if isinstance(stage, Reward | Improve) and stage.ai:
        part["ai"] = stage.ai
    return part


class PlannedStep(TypedDict):
    """A step, as `Round.plan` stores it. Its parts run side by side."""

    name: str
    title: str
    does: str
    parts: list[PlannedPart]


@dataclass(frozen=True, kw_only=True)
class RoundContext:
    """What the plan of a new round depends on."""

    recipe: Recipe
    settings: RoundSettings
    needs_answers: bool
    """Too few judgments are made or pending: the current policy generates answers first."""
    has_demonstrations: bool
    has_safety_project: bool
    has_reward_model: bool
    """A current one, with which the new one is compared."""
    has_safety_model: bool

    @property
    def trains_safety_model(self) -> bool:
        return self.has_safety_project and bool(self.recipe.stages_of(SafetyReward))


@dataclass(frozen=True)
class StepResult:
    """Whether the round moves to the next step; if not, the state in which it stays, and why."""

    advance: bool
    state: str = Round.State.WORKING
    reason: str = ""


ADVANCE = StepResult(advance=True)
WAIT = StepResult(advance=False)


@dataclass(frozen=True)
class Awaited:
    """What a round waits for, in a sentence. people: the judgments of annotators. needs_people: those who work now cannot
    give all of them."""

    sentence: str
    people: bool = False
    needs_people: bool = False


class Step(ABC):
    """One step of a round. The classes hold no state: a round is a row, and `STEPS` has one instance of each."""

    name: ClassVar[str]
    """As in `Round.step`; never changed, as old rows have it."""
    title: ClassVar[str]
    """In English, also in plans; `title` and `help` are translated where they are shown."""
    help: ClassVar[str] = ""
    does: ClassVar[str]
    """The kind of step, for users of the API."""
    can_retry: ClassVar[bool] = True
    waits_for_people: ClassVar[bool] = False
    """A lead can have the round move on without waiting."""
    report_keys: ClassVar[tuple[str, ...]] = ()
    """What it writes into `Round.report`; a retry removes it."""
    expands_gates: ClassVar[bool] = False
    """The page shows its gates even after they were passed."""

    def is_needed(self, context: RoundContext) -> bool:
        return True

    def title_for(self, context: RoundContext) -> str:
        return self.title

    def parts(self, context: RoundContext) -> list[PlannedPart]:
        return []

    def plan(self, context: RoundContext) -> list[PlannedStep]:
        """Its entries in the plan of a new round: none or one, or several where methods follow one another."""
        if not self.is_needed(context):
            return []
        return [
            {
                "name": self.name,
                "title": self.title_for(context),
                "does": self.does,
                "parts": self.parts(context),
            }
        ]

    def enter(self, round: Round) -> None:  # noqa: B027 - most steps need nothing to begin with
        """Prepare the step, in the transaction that moves the round to it."""

    @abstractmethod
    def check(self, round: Round) -> StepResult:
        """Whether the step is done, called until it is; a step without runs or people does its work here."""

    def awaits(self, round: Round) -> Awaited:
        """What the round waits for while it is at this step."""
        return Awaited("")

    def result(self, round: Round) -> str:
        """What the page says of the step when it is done."""
        return _("done")


@dataclass(frozen=True)
class RunArguments:
    """Arguments of `start_run` that a step sets for one of its parts. `config` overrides the plan's and the loop's."""

    project: Project
    model: ModelVersion | None
    snapshot: Snapshot | None = None
    reward_model: ModelVersion | None = None
    safety_reward_model: ModelVersion | None = None
    second_reward_model: ModelVersion | None = None
    reference: ModelVersion | None = None
    judge: ModelVersion | None = None
    opinion_set: OpinionSet | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


class RunStep(Step):
    """A step whose work is runs. It is done when all of them are; a part with nothing to do has no run."""

    does = "runs"

    @abstractmethod
    def run_arguments(self, round: Round, part: str) -> RunArguments | None:
        """The arguments of a part's run; None if there is nothing to do."""

    @abstractmethod
    def part_label(self, part: PlannedPart) -> str:
        """What the page calls the part."""

    def enter(self, round: Round) -> None:
        for part in round.current_step["parts"]:
            if round.run_of(part["part"]) is None:
                self._start(round, part)

    def _start(self, round: Round, part: PlannedPart) -> None:
        arguments = self.run_arguments(round, part["part"])
        if arguments is None:
            return
        config = {"seed": round.number} | run_configs.merged(round.configs, part["kind"], part["config"])
        start_run(
            kind=part["kind"],
            creator=round.created_by or round.loop.created_by,
            round=round,
            part=part["part"],
            **vars(replace(arguments, config=config | arguments.config)),
        )

    def awaits(self, round: Round) -> Awaited:
        """Its runs that are not done: how far they are, and which of them no worker has taken yet."""
        parts = [part["part"] for part in round.current_step["parts"]]
        runs = [run for run in round.runs.all() if run.part in parts and not run.superseded and run.is_open]
        return Awaited(" ".join(describe_run(run) for run in runs))

    def check(self, round: Round) -> StepResult:
        parts = [part["part"] for part in round.current_step["parts"]]
        runs = list(round.runs.filter(part__in=parts, superseded=False))
        stopped = [run for run in runs if run.state in (Run.State.FAILED, Run.State.CANCELLED)]
        if stopped:
            reason = f"{stopped[0]}: {stopped[0].error or _('It was cancelled.')}"
            return StepResult(advance=False, state=Round.State.FAILED, reason=reason)
        return ADVANCE if all(run.state == Run.State.DONE for run in runs) else WAIT


def describe_run(run: Run) -> str:
    """What an open run waits for, or how far it is."""
    if run.state == Run.State.QUEUED:
        return _("%(run)s waits for a worker.") % {"run": run}
    values = {"run": run, "percent": run.percent, "time": duration(run.eta_s)}
    if run.total and run.eta_s:
        return _("%(run)s is at %(percent)s%%, about %(time)s are left.") % values
    return (
        _("%(run)s is at %(percent)s%%.") if run.total else _("%(run)s loads its model and data.")
    ) % values


def new_model_name(round: Round, stem: str) -> str:
    """`round-N-stem`, or `round-N-stem-2` and so on where a model of the round's projects has or will have that name."""
    return free_name(f"round-{round.number}-{stem}", names_in_use(round.loop.projects))
