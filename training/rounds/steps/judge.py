"""Asking the AI judge, and the gate of its agreement with people."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.analytics.ai_feedback import trust_report
from annotation.logic import judge_trust
from annotation.models import User
from training.models import Round, Run
from training.rounds.gates import ai_agreement_gate
from training.rounds.recipes import RECIPES, Judge, Revise
from training.rounds.settings import settings_of
from training.rounds.steps.ai_feedback import cascade_run, judge_model, judge_run
from training.rounds.steps.base import PlannedPart, RoundContext, RunArguments, RunStep, planned_part
from training.rounds.steps.gate_steps import Describe, GateStep
from training.rounds.steps.improve import starting_policy
from training.rounds.steps.new_items import FirstAnswers, NewAnswers


class AskJudge(RunStep):
    """The judge compares the answers of which people judged some."""

    name = "judge"
    title = gettext_noop("Ask the AI judge")
    help = gettext_noop("It compares the answers that annotators judged, and those that were left to it.")

    def is_needed(self, context: RoundContext) -> bool:
        return bool(context.recipe.stages_of(Judge))

    def parts(self, context: RoundContext) -> list[PlannedPart]:
        return [planned_part("judge", stage) for stage in context.recipe.stages_of(Judge)]

    def part_label(self, part: PlannedPart) -> str:
        return _("AI judge")

    def run_arguments(self, round: Round, part: str) -> RunArguments | None:
        if cascade_run(round) and not FirstAnswers().runs(round, round.loop.project):
            return None
        inputs: dict[str, Any] = {}
        if runs := _answer_runs(round):
            inputs["answers"] = [run.pk for run in runs]
        if RECIPES[round.recipe].ai_judges_safety:
            inputs["tag"] = settings_of(round).safety_tag
        return RunArguments(round.loop.project, judge_model(round), inputs=inputs)


def _answer_runs(round: Round) -> list[Run]:
    """The runs whose answers this round's judgments are about: its own first answers, or those at the end of the last round.
    None if people judge other answers, such as imported ones."""
    project = round.loop.project
    if runs := FirstAnswers().runs(round, project):
        return runs
    before = round.loop.rounds.filter(number__lt=round.number).first()
    return NewAnswers().runs(before, project) if before else []


class JudgeGate(GateStep):
    """Where the recipe can do without AI, a judge that does not pass is left out; otherwise the round is held."""

    name = "judge-gate"
    title = gettext_noop("AI judge gate")
    help = gettext_noop(
        "Checks whether the judge agrees with people nearly as often as they agree with each other."
    )
    does = "judge_gate"
    report_keys = ("ai",)

    def is_needed(self, context: RoundContext) -> bool:
        return bool(context.recipe.stages_of(Judge))

    def evaluate(self, round: Round) -> Describe:
        run = judge_run(round)
        if run is None or run.output_opinion_set is None:
            return list
        report = trust_report(run.output_opinion_set)
        comparison = report.trust.comparison
        settings, holds = settings_of(round), RECIPES[round.recipe].needs_ai
        gate = ai_agreement_gate(comparison, settings, holds=holds)
        # what cannot be measured counts as it is: a lead answers for it
        use: dict[str, float | None] = {"scale": 1.0, "weight": 1.0}
        if not gate.passed:
            use["weight"] = 0.0
        elif comparison is not None:
            use = {"scale": report.scale, "weight": judge_trust.weight(comparison.judge.low)}
            use["threshold"] = report.cascade.threshold if report.cascade else None
        round.report |= {"ai": {"opinion_set": run.output_opinion_set.number} | use}
        return lambda: [ai_agreement_gate(comparison, settings, holds=holds)]

    def on_pass(self, round: Round, actor: User | None = None) -> None:
        """A lead who overrules the gate answers for the judge: its opinions count as they are."""
        if actor is not None and round.report.get("ai"):
            round.report["ai"] |= {"scale": 1.0, "weight": 1.0}
            round.save(update_fields=["report"])


class ReviseAnswers(RunStep):
    name = "revise"
    title = gettext_noop("Revise answers by the constitution")

    def is_needed(self, context: RoundContext) -> bool:
        return bool(context.recipe.stages_of(Revise))

    def parts(self, context: RoundContext) -> list[PlannedPart]:
        return [planned_part("revise", stage) for stage in context.recipe.stages_of(Revise)]

    def part_label(self, part: PlannedPart) -> str:
        return _("Revisions")

    def run_arguments(self, round: Round, part: str) -> RunArguments:
        return RunArguments(
            round.loop.project,
            starting_policy(round),
            judge=judge_model(round, Run.Kind.REVISE),
            inputs={"prompts": settings_of(round).learn_prompts},
        )
