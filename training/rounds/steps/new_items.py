"""New answers for annotators: generating them, scoring them where the strategy needs it, and sending items to the queue.

This happens at the end of every round with the current policy, and before a first round if there is too little to annotate.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.actions import queue
from annotation.models import Project
from training.models import ModelVersion, Round, Run
from training.rounds.item_sampling import (
    AnswerSets,
    draw_items,
    draw_safety_items,
    item_budget,
    prompts_to_answer,
    round_up,
    safety_prompts_to_answer,
)
from training.rounds.settings import settings_of
from training.rounds.steps.base import (
    ADVANCE,
    PlannedPart,
    RoundContext,
    RunArguments,
    RunStep,
    Step,
    StepResult,
)
from training.rounds.steps.reward_models import REWARD_MODEL_LABELS, evaluation_parts
from training.runs.outputs import read_scores

PREVIOUS_POLICY_SEED = 1_000_000
"""Added to the seed of the previous policy's answers: with the new one's seed, two similar policies would sample the same
texts."""


class GenerateAnswers(RunStep):
    """Answers of one policy, a part for each temperature: `prefix-1` and so on; `prefix-before` are the previous policy's,
    `prefix-safety` those to the safety project's prompts."""

    prefix: ClassVar[str]

    def parts(self, context: RoundContext) -> list[PlannedPart]:
        temperatures = context.settings.sampling_temperatures
        parts = [(str(number), temperature) for number, temperature in enumerate(temperatures, start=1)]
        if self.includes_previous_policy(context):
            parts.append(("before", temperatures[0]))
        if context.has_safety_project:
            parts.append(("safety", temperatures[0]))
        return [
            {"part": f"{self.prefix}-{name}", "kind": "generate", "config": {"temperature": temperature}}
            for name, temperature in parts
        ]

    def includes_previous_policy(self, context: RoundContext) -> bool:
        return False

    def part_label(self, part: PlannedPart) -> str:
        match part["part"].removeprefix(f"{self.prefix}-"):
            case "before":
                return _("Answers of the previous policy")
            case "safety":
                return _("Answers to safety prompts")
        return _("Answers at temperature %(value)s") % {"value": f"{part['config']['temperature']:g}"}

    def policy(self, round: Round) -> ModelVersion:
        return round.policy_before

    def oversamples(self, round: Round) -> bool:
        """Whether more prompts are answered than are sent to annotators, so that the strategy has a choice."""
        return False

    def run_arguments(self, round: Round, part: str) -> RunArguments | None:
        settings, loop = settings_of(round), round.loop
        project, policy = loop.project, self.policy(round)
        config: dict[str, Any] = {}
        match part.removeprefix(f"{self.prefix}-"):
            case "safety":
                assert loop.safety_project is not None
                project = loop.safety_project
                prompts, samples = safety_prompts_to_answer(round), project.k
            case "before":
                if round.decision != Round.Decision.PROMOTED:
                    return None
                policy = round.policy_before
                prompts = prompts_to_answer(round, oversample=self.oversamples(round))
                prompts = prompts[: round_up(settings.previous_share * len(prompts))]
                samples = max(1, project.k // 2)
                config["seed"] = PREVIOUS_POLICY_SEED + round.number
            case _:
                prompts = prompts_to_answer(round, oversample=self.oversamples(round))
                samples = max(1, round_up(project.k / len(settings.sampling_temperatures)))
        if not prompts:
            return None
        config["samples"] = samples
        return RunArguments(project, policy, inputs={"prompt_ids": prompts}, config=config)

    def runs(self, round: Round, project: Project) -> list[Run]:
        """Its runs on a project's prompts, in the order of their parts."""
        parts = [part["part"] for step in round.plan if step["name"] == self.name for part in step["parts"]]
        runs = round.runs.filter(part__in=parts, superseded=False, project=project).order_by("pk")
        return list(runs.select_related("model"))


class FirstAnswers(GenerateAnswers):
    name = "first-answers"
    title = gettext_noop("Generate first answers")
    prefix = "first"
    can_retry = False

    def is_needed(self, context: RoundContext) -> bool:
        return context.needs_answers and context.settings.budget > 0


class NewAnswers(GenerateAnswers):
    name = "fresh-answers"
    title = gettext_noop("Generate new answers")
    prefix = "fresh"

    def is_needed(self, context: RoundContext) -> bool:
        return context.settings.budget > 0

    def includes_previous_policy(self, context: RoundContext) -> bool:
        return context.settings.previous_share > 0

    def policy(self, round: Round) -> ModelVersion:
        is_promoted = round.decision == Round.Decision.PROMOTED
        return (round.policy_after if is_promoted else None) or round.policy_before

    def oversamples(self, round: Round) -> bool:
        return settings_of(round).strategy != "uniform"


class ScoreNewAnswers(RunStep):
    name = "score"
    title = gettext_noop("Score the new answers")
    help = gettext_noop("The sampling strategy selects the items by these scores.")

    def is_needed(self, context: RoundContext) -> bool:
        return context.settings.budget > 0 and context.settings.strategy != "uniform"

    def parts(self, context: RoundContext) -> list[PlannedPart]:
        return evaluation_parts("score", ["reward", *(["second"] if context.settings.second_opinion else [])])

    def part_label(self, part: PlannedPart) -> str:
        return _(REWARD_MODEL_LABELS[part["part"].removeprefix("score-")])

    def run_arguments(self, round: Round, part: str) -> RunArguments | None:
        scorer = round.output_of(part.removeprefix("score-"))
        runs = NewAnswers().runs(round, round.loop.project)
        if scorer is None or not runs:
            return None
        inputs = {"answers": [run.pk for run in runs]}
        return RunArguments(round.loop.project, scorer, inputs=inputs, config={"split": "all"})

    def scores(self, round: Round) -> list[dict[int, list[float]]]:
        """Of each reward model that scored the answers, its rewards by prompt."""
        runs = [round.run_of(part) for part in ("score-reward", "score-second")]
        return [read_scores(run) for run in runs if run]


class SendToAnnotators(Step):
    """Adds items to the queue, each with the probability with which its prompt was drawn."""

    title = gettext_noop("Send to annotators")
    help = gettext_noop("Adds the selected answers to the annotation queue.")
    does = "ask"
    can_retry = False
    report_keys = ("asked",)
    answers: ClassVar[GenerateAnswers]

    def is_needed(self, context: RoundContext) -> bool:
        return self.answers.is_needed(context)

    def scores(self, round: Round) -> list[dict[int, list[float]]]:
        return []

    def check(self, round: Round) -> StepResult:
        loop, budget = round.loop, item_budget(round)
        rng = random.Random(round.pk)  # noqa: S311 - a draw to be repeated, not a secret
        count = 0
        if runs := self.answers.runs(round, loop.project):
            answers = AnswerSets(loop.project, runs, self.scores(round))
            items = draw_items(round, answers, {"train": budget.training, "held_out": budget.held_out}, rng)
            count += len(queue.enqueue(project=loop.project, specs=items, priority=round.number))
        if loop.safety_project and (runs := self.answers.runs(round, loop.safety_project)):
            answers = AnswerSets(loop.safety_project, runs, [])
            items = draw_safety_items(round, answers, rng)
            count += len(queue.enqueue(project=loop.safety_project, specs=items, priority=round.number))
        round.report |= {"asked": count}
        round.save(update_fields=["report"])
        return ADVANCE


class SendFirstAnswers(SendToAnnotators):
    name = "first-questions"
    answers = FirstAnswers()


class SendNewAnswers(SendToAnnotators):
    name = "questions"
    answers = NewAnswers()

    def scores(self, round: Round) -> list[dict[int, list[float]]]:
        return ScoreNewAnswers().scores(round)
