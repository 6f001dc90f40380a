"""The steps of a round, one class each. `STEPS` is their registry: plans, pages, estimates and retries read it."""

from __future__ import annotations

from training.rounds.steps.base import Step
from training.rounds.steps.collect import Collect, Freeze
from training.rounds.steps.comparison import GenerateComparison, HumanComparison, ScoreComparison
from training.rounds.steps.gate_steps import PolicyGates, RewardGates
from training.rounds.steps.improve import ImprovePolicy
from training.rounds.steps.judge import AskJudge, JudgeGate, ReviseAnswers
from training.rounds.steps.new_items import (
    FirstAnswers,
    NewAnswers,
    ScoreNewAnswers,
    SendFirstAnswers,
    SendNewAnswers,
)
from training.rounds.steps.promotion import Promotion
from training.rounds.steps.reward_models import EvaluateRewardModels, TrainRewardModels

STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        FirstAnswers(),
        SendFirstAnswers(),
        Collect(),
        Freeze(),
        AskJudge(),
        JudgeGate(),
        TrainRewardModels(),
        EvaluateRewardModels(),
        RewardGates(),
        ReviseAnswers(),
        ImprovePolicy(),
        GenerateComparison(),
        ScoreComparison(),
        HumanComparison(),
        PolicyGates(),
        Promotion(),
        NewAnswers(),
        ScoreNewAnswers(),
        SendNewAnswers(),
    )
}
"""By name, in the order of a round."""


def step_of(name: str) -> Step:
    """The step that a plan calls `name`: `improve` for `improve-2`."""
    return STEPS.get(name) or STEPS[name.rpartition("-")[0]]
