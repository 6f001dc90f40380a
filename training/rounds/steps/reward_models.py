"""Training the reward models, and evaluating them on new judgments.

There are up to three, by name: `reward`; `safety`, trained on the judgments of the loop's safety project; and `second`,
trained on the held-out judgments that `reward` never sees.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.models import Snapshot
from training.models import ModelVersion, Round
from training.registry.actions import current_model
from training.rounds.recipes import Reward, SafetyReward
from training.rounds.settings import settings_of
from training.rounds.steps.ai_feedback import opinion_arguments
from training.rounds.steps.base import (
    PlannedPart,
    RoundContext,
    RunArguments,
    RunStep,
    new_model_name,
    planned_part,
)

REWARD_MODEL_LABELS = {
    "reward": gettext_noop("Reward model"),
    "safety": gettext_noop("Safety reward model"),
    "second": gettext_noop("Second reward model"),
}
MIN_PAIRS_FOR_SECOND = 12
"""Held-out pairs below which no second reward model is trained on them."""
MIN_NEW_HELD_OUT = 5
"""New held-out judgments below which the reward models are evaluated on all held-out ones."""


def evaluation_parts(step: str, names: list[str]) -> list[PlannedPart]:
    return [{"part": f"{step}-{name}", "kind": "evaluate", "config": {}} for name in names]


def last_seen_judgment(round: Round, snapshot: Snapshot) -> int:
    """The last judgment of the previous snapshot, after which judgments are new; 0, so that all count as new, where too few
    new ones are of held-out prompts to evaluate on."""
    before = snapshot.project.snapshots.filter(number__lt=snapshot.number).first()
    if before is None:
        return 0
    new = snapshot.counts.get("judgments_held_out", 0) - before.counts.get("judgments_held_out", 0)
    return before.last_judgment if new >= MIN_NEW_HELD_OUT else 0


def reward_start(round: Round) -> ModelVersion:
    """The model that the reward models start from (`RoundSettings.reward_start`)."""
    first = round.loop.first_policy
    return (first.parent if settings_of(round).reward_start == "base" else None) or first


class TrainRewardModels(RunStep):
    name = "rewards"
    title = gettext_noop("Train the reward models")

    def title_for(self, context: RoundContext) -> str:
        parts = self.parts(context)
        return self.title if len(parts) > 1 else context.recipe.stages_of(Reward)[0].title

    def parts(self, context: RoundContext) -> list[PlannedPart]:
        reward, *_ = context.recipe.stages_of(Reward)
        parts = [planned_part("reward", reward)]
        if context.trains_safety_model:
            parts.append(planned_part("safety", context.recipe.stages_of(SafetyReward)[0]))
        if context.settings.second_opinion:
            parts.append(planned_part("second", replace(reward, ai="")))  # people's held-out judgments only
        return parts

    def part_label(self, part: PlannedPart) -> str:
        return _(REWARD_MODEL_LABELS[part["part"]])

    def run_arguments(self, round: Round, part: str) -> RunArguments | None:
        project, snapshot = round.loop.project, round.snapshot
        stem = "second-reward" if part == "second" else part
        inputs: dict[str, Any] = {"name": new_model_name(round, stem)}
        # the other models' judgments need not have ratings, and only their reward is used
        config: dict[str, Any] = {} if part == "reward" else {"criteria": ""}
        if part == "safety":
            assert round.loop.safety_project is not None
            project, snapshot = round.loop.safety_project, round.safety_snapshot
            if not project.asks_safety:
                config["safety_weight"] = 0.0  # its annotators give no safety labels to learn from
        assert snapshot is not None
        arguments: dict[str, Any] = {}
        if ai := next(other.get("ai") for other in round.current_step["parts"] if other["part"] == part):
            arguments = opinion_arguments(round, ai)
            inputs |= arguments.pop("inputs", {})
        if part == "second":
            if snapshot.counts.get("pairs_held_out", 0) < MIN_PAIRS_FOR_SECOND:
                return None
            inputs["swap"] = True
        return RunArguments(
            project, reward_start(round), snapshot=snapshot, inputs=inputs, config=config, **arguments
        )


class EvaluateRewardModels(RunStep):
    name = "measure"
    title = gettext_noop("Evaluate the reward models")
    help = gettext_noop("On the new judgments of held-out prompts, which none of them was trained on.")

    def parts(self, context: RoundContext) -> list[PlannedPart]:
        names = ["reward"]
        names += ["old-reward"] if context.has_reward_model else []
        names += ["second"] if context.settings.second_opinion else []
        if context.trains_safety_model:
            names += ["safety", *(["old-safety"] if context.has_safety_model else [])]
        return evaluation_parts("measure", names)

    def part_label(self, part: PlannedPart) -> str:
        name = part["part"].removeprefix("measure-")
        label = _(REWARD_MODEL_LABELS[name.removeprefix("old-")])
        return _("%(model)s (old)") % {"model": label} if name.startswith("old-") else label

    def run_arguments(self, round: Round, part: str) -> RunArguments | None:
        name = part.removeprefix("measure-")
        is_safety = name.endswith("safety")
        snapshot = round.safety_snapshot if is_safety else round.snapshot
        if name.startswith("old-"):
            project = round.loop.safety_project if is_safety else round.loop.project
            assert project is not None
            model = current_model(project, ModelVersion.Kind.REWARD)
        else:
            model = round.output_of(name)
        if model is None or snapshot is None:
            return None
        inputs: dict[str, Any] = {"after": last_seen_judgment(round, snapshot)}
        if name == "second":
            inputs["swap"] = True
        return RunArguments(round.loop.project, model, snapshot=snapshot, inputs=inputs)
