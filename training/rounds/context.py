"""What all steps of a round need: its settings, its projects, and the runs of its parts."""

from __future__ import annotations

import random
from dataclasses import dataclass

from annotation import analytics
from annotation.models import Project, Prompt
from training.models import ModelVersion, Round, Run
from training.rounds.settings import RoundSettings


@dataclass(frozen=True)
class Outcome:
    """Whether the round may go on; if not, in which state it waits, and why."""

    goes_on: bool
    state: str = Round.State.WORKING
    sentence: str = ""


ON = Outcome(goes_on=True)
WAIT = Outcome(goes_on=False)


def settings_of(round: Round) -> RoundSettings:
    return RoundSettings(**round.options)


def projects_of(round: Round) -> list[Project]:
    loop = round.loop
    return [loop.project, *([loop.safety_project] if loop.safety_project else [])]


def new_judgments(round: Round) -> int:
    """Judgments since the last snapshots, in all the loop's projects."""
    return sum(
        analytics.new_judgment_count(project, project.snapshots.first()) for project in projects_of(round)
    )


def run_of(round: Round, part: str) -> Run | None:
    """The run that did, or does, a part of the round."""
    return round.runs.filter(part=part, superseded=False).select_related("output").first()


def output_of(round: Round, part: str) -> ModelVersion | None:
    run = run_of(round, part)
    return getattr(run, "output", None) if run else None


def evaluation_prompts(round: Round) -> list[int]:
    """The same held-out prompts in every round, as long as none are imported: whatever the draw that is the loop's."""
    held_out = list(
        Prompt.objects.filter(project=round.loop.project, split=Prompt.Split.HELD_OUT)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    random.Random(round.loop_id).shuffle(held_out)  # noqa: S311 - a draw to be repeated, not a secret
    return held_out[: settings_of(round).evaluation_prompts]


def given_before(round: Round, policy: ModelVersion | None, prompts: list[int]) -> Run | None:
    """The run of an earlier round in which a policy answered the very same prompts."""
    earlier = Run.objects.filter(
        round__loop=round.loop_id, model=policy, part__startswith="answers-", state=Run.State.DONE
    )
    return next((run for run in earlier if run.inputs.get("prompt_ids") == prompts), None)


def compared_runs(round: Round) -> list[int]:
    """The runs whose answers are compared: the new policy's, then the old one's."""
    new = run_of(round, "answers-new")
    old = run_of(round, "answers-old") or given_before(round, round.policy_before, evaluation_prompts(round))
    assert new is not None
    assert old is not None
    return [new.pk, old.pk]
