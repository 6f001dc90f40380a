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
from training.rounds import active_learning
from training.rounds.item_sampling import (
    AnswerSets,
    draw_items,
    draw_safety_items,
    item_budget,
    prompts_to_answer,
    round_up,
    safety_prompts_to_answer,
)
from training.rounds.recipes import Judge
from training.rounds.settings import settings_of
from training.rounds.steps.ai_feedback import CASCADE_PART, judge_model, unsure_shares
from training.rounds.steps.base import (
    ADVANCE,
    PlannedPart,
    RoundContext,
    RunArguments,
    RunStep,
    Step,
    StepResult,
    planned_part,
)
from training.rounds.steps.reward_models import REWARD_MODEL_LABELS, evaluation_parts
from training.runs.outputs import read_scores

PREVIOUS_POLICY_SEED = 1_000_000
"""Added to the seed of the previous policy's answers: with the new one's seed, two similar policies would sample the same
texts."""


MIN_CASCADE_WEIGHT = 0.1
"""Of a prompt on all of whose pairs the judge is sure: some of these go to annotators too, or nobody would notice if the judge's
agreement with them fell."""


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
    """By the reward models; for the cascade, the AI judge compares them."""

    name = "score"
    title = gettext_noop("Score the new answers")
    help = gettext_noop("The sampling strategy selects the items by these scores.")

    def is_needed(self, context: RoundContext) -> bool:
        return context.settings.budget > 0 and context.settings.strategy != "uniform"

    def parts(self, context: RoundContext) -> list[PlannedPart]:
        if context.settings.strategy == "cascade":
            return [planned_part(CASCADE_PART, context.recipe.stages_of(Judge)[0])]
        return evaluation_parts("score", ["reward", *(["second"] if context.settings.second_opinion else [])])

    def part_label(self, part: PlannedPart) -> str:
        if part["part"] == CASCADE_PART:
            return _("AI judge")
        return _(REWARD_MODEL_LABELS[part["part"].removeprefix("score-")])

    def run_arguments(self, round: Round, part: str) -> RunArguments | None:
        runs = NewAnswers().runs(round, round.loop.project)
        inputs = {"answers": [run.pk for run in runs]}
        if part == CASCADE_PART:
            is_sure = runs and (round.report.get("ai") or {}).get("threshold") is not None
            return RunArguments(round.loop.project, judge_model(round), inputs=inputs) if is_sure else None
        scorer = round.output_of(part.removeprefix("score-"))
        if scorer is None or not runs:
            return None
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

    def weights(self, round: Round, answers: AnswerSets) -> dict[int, float]:
        """Of each prompt, in the draw of training prompts."""
        return dict.fromkeys(answers.prompts, 1.0)

    def check(self, round: Round) -> StepResult:
        loop, budget = round.loop, item_budget(round)
        rng = random.Random(round.pk)  # noqa: S311 - a draw to be repeated, not a secret
        count = 0
        if runs := self.answers.runs(round, loop.project):
            answers = AnswerSets(loop.project, runs, self.scores(round))
            counts = {"train": budget.training, "held_out": budget.held_out}
            items = draw_items(round, answers, counts, self.weights(round, answers), rng)
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

    def weights(self, round: Round, answers: AnswerSets) -> dict[int, float]:
        strategy = settings_of(round).strategy
        if strategy == "cascade":
            unsure = unsure_shares(round)
            return {prompt: max(MIN_CASCADE_WEIGHT, unsure.get(prompt, 1.0)) for prompt in answers.prompts}
        return {
            prompt: active_learning.weight(strategy, answers.scores_of(prompt)) for prompt in answers.prompts
        }
