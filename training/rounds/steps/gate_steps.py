"""The gates of the reward models and of the policy: what they are computed from, and what happens when all pass."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.conf import settings as site_settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, override

from annotation.actions import review, snapshots
from annotation.models import ReviewFlag, Snapshot, User
from training.models import Round, is_failed
from training.registry.actions import promote
from training.rounds import evaluation
from training.rounds.gates import REWARD_MODELS, Gate, policy_gates, reward_gates
from training.rounds.settings import settings_of
from training.rounds.steps.base import ADVANCE, Step, StepResult
from training.rounds.steps.comparison import compared_runs
from training.rounds.steps.improve import improvement_runs, new_policy
from training.runs.outputs import read_responses, read_scores

MAX_DISPUTED = 50
"""Judgments that one round sends to reviewers."""
Describe = Callable[[], list[Gate]]
"""Returns gates with their texts in the current language."""


class GateStep(Step):
    """A step that holds the round where a gate is not passed, until a lead decides."""

    @abstractmethod
    def evaluate(self, round: Round) -> Describe:
        """Add to `round.report` what the gates are computed from, and return what computes them."""

    def on_pass(self, round: Round, actor: User | None = None) -> None:
        """What follows when all gates are passed, or `actor` overrules those that are not."""

    def check(self, round: Round) -> StepResult:
        gates = [gate | {"step": self.name} for gate in _in_all_languages(self.evaluate(round))]
        round.gates = [gate for gate in round.gates if gate["step"] != self.name] + gates
        round.save(update_fields=["gates", "report", "policy_after"])
        failed = [gate["label"] for gate in gates if is_failed(gate)]
        if failed:
            reason = f"Not passed: {', '.join(failed)}."
            return StepResult(advance=False, state=Round.State.HELD, reason=reason)
        self.on_pass(round)
        return ADVANCE


def _in_all_languages(describe: Describe) -> list[dict[str, Any]]:
    """Gates as a round stores them: their texts in English, and in the site's other languages in `translations`, as a process
    that works for nobody in particular does not know who will read them."""
    with override("en"):
        gates = [gate.to_dict() | {"translations": {}} for gate in describe()]
    for language, _name in site_settings.LANGUAGES:
        with override(language):
            for gate, translated in zip(gates, describe(), strict=True):
                gate["translations"][language] = {"label": translated.label, "sentence": translated.sentence}
    return gates


class RewardGates(GateStep):
    name = "reward-gates"
    title = gettext_noop("Reward model gates")
    help = gettext_noop("Checks whether the reward models are good enough to train a policy with.")
    does = "reward_gates"
    report_keys = ("odd",)

    def evaluate(self, round: Round) -> Describe:
        disputed = _disputed_judgments(round)
        review.flag_for_review(judgments=disputed, reason=ReviewFlag.Reason.REWARDS)
        round.report |= {"odd": disputed}
        return lambda: [
            *self._gates_of(round, "reward", round.snapshot, "%(gate)s"),
            *self._gates_of(round, "safety", round.safety_snapshot, _("Safety: %(gate)s")),
        ]

    @staticmethod
    def _gates_of(round: Round, model: str, snapshot: Snapshot | None, label: str) -> list[Gate]:
        new = round.run_of(f"measure-{model}")
        if new is None or snapshot is None:
            return []
        gates = reward_gates(
            new=new.result.get("report") or {},
            loss=evaluation.accuracy_loss(new, round.run_of(f"measure-old-{model}")),
            judgments=snapshot.counts.get("judgments_train", 0),
            settings=settings_of(round),
            fresh=bool(new.inputs.get("after")),
        )
        return [
            replace(gate, name=f"{model}_{gate.name}", label=label % {"gate": gate.label}) for gate in gates
        ]

    def on_pass(self, round: Round, actor: User | None = None) -> None:
        """The reward models score answers from now on."""
        for part in ("reward", "safety"):
            if (model := round.output_of(part)) is not None:
                promote(model, actor)


def _disputed_judgments(round: Round) -> list[int]:
    """Judgments with which both reward models disagree."""
    runs = [round.run_of("measure-reward"), round.run_of("measure-second")]
    if round.snapshot is None or not all(runs):
        return []
    scores = [read_scores(run) for run in runs if run]
    ranks = {
        row["judgment"]: list(row["ranks"])
        for row in snapshots.read_rankings(round.snapshot)
        if row["judgment"] in scores[0]
    }
    return evaluation.disputed_judgments(ranks, scores)[:MAX_DISPUTED]


class PolicyGates(GateStep):
    name = "policy-gates"
    title = gettext_noop("Policy gates")
    help = gettext_noop(
        "Checks whether the new policy is better than the old one, within the KL and length limits."
    )
    does = "policy_gates"
    expands_gates = True
    report_keys = (
        *("wins", "by_tag", "by_length", "regressions", "length", "length_ratio", "overoptimised"),
        *("same_answers", "kl", "reward_by_kl"),
    )

    def evaluate(self, round: Round) -> Describe:
        round.policy_after = new_policy(round)
        settings = settings_of(round)
        scorers = {
            name: read_scores(run)
            for name in REWARD_MODELS
            if (run := round.run_of(f"compare-{name}")) is not None
        }
        report = evaluation.compare_policies(
            read_responses(compared_runs(round)), scorers, safety_tag=settings.safety_tag
        )
        if (humans := evaluation.human_win_rate(round)) is not None:
            report["wins"].append(humans)
        answers = round.run_of("answers-new")
        report["kl"] = answers.result.get("kl") if answers else None
        report["reward_by_kl"] = evaluation.reward_by_kl(improvement_runs(round))
        round.report |= report
        return lambda: policy_gates(report=report, settings=settings)
