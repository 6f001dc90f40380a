"""From a recipe to a plan: the steps of one round, in order, with their runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.rounds.recipes import Demonstrations, Improve, Recipe, Reward, SafetyReward, Stage
from training.rounds.settings import RoundSettings


@dataclass(frozen=True)
class Facts:
    """What a plan depends on beside recipe and settings."""

    asks_first: bool
    """What waits to be judged, and what was said, are too little: the current policy answers first."""
    demonstrations: bool
    safety: bool
    old_reward: bool
    old_safety: bool


JsonObject = dict[str, Any]


def plan_of(recipe: Recipe, options: RoundSettings, facts: Facts) -> list[JsonObject]:
    """The steps of a round, in order: `name`, `title`, what it `does`, and its `parts`, which run side by side."""
    asks = options.budget > 0
    second = options.second_opinion
    reward, *_ = recipe.of(Reward)
    plan: list[JsonObject] = []
    if facts.asks_first and asks:
        plan += [
            _step(
                "first-answers",
                "The policy answers",
                "runs",
                _sampling("first", options, facts.safety, before=False),
            ),
            _step("first-questions", "Ask people", "ask"),
        ]
    rewards = [_part("reward", reward)]
    safety = recipe.of(SafetyReward)
    if facts.safety and safety:
        rewards.append(_part("safety", safety[0]))
    if second:
        rewards.append(_part("second", reward))
    measured = ["measure-reward"]
    measured += ["measure-old-reward"] if facts.old_reward else []
    measured += ["measure-second"] if second else []
    if facts.safety and safety:
        measured += ["measure-safety", *(["measure-old-safety"] if facts.old_safety else [])]
    plan += [
        _step("collect", "People judge", "collect"),
        _step("freeze", "Freeze what they said", "freeze"),
        _step("rewards", "Train the reward models" if len(rewards) > 1 else reward.title, "runs", rewards),
        _step("measure", "Measure them on fresh judgments", "runs", _evaluations(measured)),
        _step("reward-gates", "Gates of the reward models", "reward_gates"),
    ]
    improving = [
        *(recipe.of(Demonstrations) if facts.demonstrations else []),
        *recipe.of(Improve),
    ]
    plan += [
        _step(f"improve-{number}", stage.title, "runs", [_part(f"improve-{number}", stage)])
        for number, stage in enumerate(improving, start=1)
    ]
    scorers = ["reward", *(["second"] if second else []), *(["safety"] if facts.safety and safety else [])]
    plan += [
        _step(
            "answers", "The new and the old policy answer", "runs", _generations("answers-new", "answers-old")
        ),
        _step(
            "compare", "The reward models compare them", "runs", _evaluations(f"compare-{s}" for s in scorers)
        ),
    ]
    if options.people_compare:
        plan.append(_step("people", "People compare them", "people"))
    plan += [
        _step("policy-gates", "Gates of the policy", "policy_gates"),
        _step("promotion", "Promote or not", "decide"),
    ]
    if asks:
        plan.append(
            _step(
                "fresh-answers",
                "The policy answers anew",
                "runs",
                _sampling("fresh", options, facts.safety, before=True),
            )
        )
        if options.strategy != "uniform":
            both = ["reward", *(["second"] if second else [])]
            plan.append(
                _step("score", "Find what is worth asking", "runs", _evaluations(f"score-{s}" for s in both))
            )
        plan.append(_step("questions", "Ask people", "ask"))
    return plan


def _sampling(name: str, options: RoundSettings, safety: bool, *, before: bool) -> list[JsonObject]:
    """Answers to be asked about: of the newest policy at each temperature, perhaps of the one before, and to the prompts
    of the safety project."""
    parts = [
        {"part": f"{name}-{number}", "kind": "generate", "config": {"temperature": temperature}}
        for number, temperature in enumerate(options.sampled_at, start=1)
    ]
    if before and options.previous_share:
        parts.append(
            {"part": f"{name}-before", "kind": "generate", "config": {"temperature": options.sampled_at[0]}}
        )
    if safety:
        parts.append(
            {"part": f"{name}-safety", "kind": "generate", "config": {"temperature": options.sampled_at[0]}}
        )
    return parts


def _part(name: str, stage: Stage) -> JsonObject:
    return {"part": name, "kind": stage.kind, "config": dict(stage.config)}


def _evaluations(names: Any) -> list[JsonObject]:
    return [{"part": name, "kind": "evaluate", "config": {}} for name in names]


def _generations(*names: str) -> list[JsonObject]:
    return [{"part": name, "kind": "generate", "config": {"temperature": 1.0}} for name in names]


def _step(name: str, title: str, does: str, parts: list[JsonObject] | None = None) -> JsonObject:
    return {"name": name, "title": title, "does": does, "parts": parts or []}
