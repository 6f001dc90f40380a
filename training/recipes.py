"""The recipes of the loop: each is a short list of stages. Adding a recipe is adding one such list.

A round does what stands around them in every recipe: it waits for judgments, freezes them, measures the reward models and
lets the gates decide, lets the new policy answer beside the old one, has it promoted or not, and asks people anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.configs.fields import ConfigError, Value, check, setting


@dataclass(frozen=True)
class Stage:
    """One kind of run in a recipe, with the settings in which it differs from that kind's defaults."""

    kind: str
    title: str
    config: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Demonstrations(Stage):
    """Fine-tuning on the answers that people wrote. Left out of a round where there are none."""

    kind: str = "sft"
    title: str = "Learn from demonstrations"


@dataclass(frozen=True)
class Reward(Stage):
    """A reward model, from all judgments."""

    kind: str = "reward"
    title: str = "Train the reward model"


@dataclass(frozen=True)
class SafetyReward(Stage):
    """A second reward model, from the judgments of the loop's safety project. Left out where there is none."""

    kind: str = "reward"
    title: str = "Train the safety reward model"


@dataclass(frozen=True)
class Improve(Stage):
    """A method that improves the policy; where there are several, each goes on from the one before."""


@dataclass(frozen=True)
class Recipe:
    """options: `RoundSettings` that the recipe's paper chose otherwise than we do."""

    name: str
    title: str
    sentence: str
    stages: tuple[Stage, ...]
    options: Mapping[str, Value] = field(default_factory=dict)

    def of(self, kind: type[Stage]) -> list[Stage]:
        return [stage for stage in self.stages if isinstance(stage, kind)]


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "dpo",
            "DPO",
            "The policy learns from the preferences themselves (Rafailov et al. 2023). The quickest, and the steadiest.",
            (Reward(), Improve("dpo", "Improve the policy by DPO")),
        ),
        Recipe(
            "llama2",
            "Llama 2",
            "Reward models with margins, one for safety; the best of several answers, with those of earlier rounds; then "
            "PPO. People are asked about the newest policy and the one before (Touvron et al. 2023).",
            (
                Reward(config={"margin": "small"}),
                SafetyReward(config={"margin": "small", "safety_weight": 1.0}),
                Improve("rejection", "Learn from the best of several answers"),
                Improve("ppo", "Improve the policy by PPO", {"whiten_scores": True}),
            ),
            {"previous_share": 0.5},
        ),
        Recipe(
            "instructgpt",
            "InstructGPT",
            "Fine-tuning on demonstrations, a reward model from whole rankings, then PPO against where it began (Ouyang et "
            "al. 2022).",
            (
                Demonstrations(),
                Reward(config={"margin": "none"}),
                Improve("ppo", "Improve the policy by PPO"),
            ),
        ),
        Recipe(
            "grpo",
            "GRPO",
            "Each prompt is answered several times, and the answers' scores are compared with each other (Shao et al. 2024).",
            (Reward(), Improve("grpo", "Improve the policy by GRPO")),
        ),
        Recipe(
            "rejection",
            "Rejection sampling",
            "Fine-tuning on the best of several answers, with the best of earlier rounds.",
            (Reward(), Improve("rejection", "Learn from the best of several answers")),
        ),
        Recipe(
            "reinforce",
            "REINFORCE",
            "The plainest gradient: answers that score above a prompt's others become likelier (Ahmadian et al. 2024).",
            (Reward(), Improve("reinforce", "Improve the policy by REINFORCE")),
        ),
        Recipe(
            "binary",
            "Preferred to a baseline",
            "The reward is 1 where the answer is preferred to the prompt's stored baseline, else 0.",
            (Reward(), Improve("reinforce", "Improve the policy by REINFORCE", {"reward": "binary"})),
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    """What a lead chooses about a round. A loop keeps what differs from these defaults, a round all of it."""

    judgments: int = setting(
        200,
        "Judgments to wait for",
        "New ones, since the last snapshot. The round also goes on when the queue is empty.",
        min=1,
        max=10_000_000,
    )
    budget: int = setting(
        300,
        "Judgments to ask for",
        "How many judgments of the new policy's answers are put into the queue at the end.",
        min=0,
        max=10_000_000,
    )
    held_out_share: float = setting(
        0.2,
        "Held-out share",
        "Of what is asked, how much is about held-out prompts: these measure the models and train none.",
        min=0.0,
        max=1.0,
    )
    strategy: str = setting(
        "uncertain",
        "What to ask",
        "Where the reward model is unsure, as it can hardly tell a prompt's answers apart; where it and the second opinion"
        " differ; or all prompts alike.",
        choices=("uncertain", "disagreement", "uniform"),
    )
    control_share: float = setting(
        0.25,
        "Control share",
        "Of what is asked, how much is drawn evenly whatever the strategy, so that figures can be trusted.",
        min=0.0,
        max=1.0,
    )
    comparisons: float = setting(
        0.2,
        "Comparisons",
        "Share of the items that ask to compare two answers, with a degree.",
        min=0.0,
        max=1.0,
    )
    temperatures: str = setting(
        "1.0",
        "Temperatures",
        "At which the new policy answers, separated by commas: each prompt gets answers at all of them.",
    )
    previous_share: float = setting(
        0.0,
        "Answers of the policy before",
        "Share of the prompts asked that get answers of the policy before too, as in Llama 2.",
        min=0.0,
        max=1.0,
    )
    safety_share: float = setting(
        0.3,
        "Safety share",
        "Of what is asked, how much goes to the safety project, where the loop has one.",
        min=0.0,
        max=0.9,
    )
    safety_tag: str = setting(
        "safety",
        "Safety tag",
        "Prompts with this tag are scored by the safety reward model, whatever it says of the answer.",
    )
    start: str = setting(
        "last",
        "A round starts from",
        "The last round's policy, as Llama 2; the loop's first policy, each time anew, with all that was said since (Bai et"
        " al. 2022); or the base model that this one was made from, as Llama 3, with a recipe that has demonstrations.",
        choices=("last", "first", "base"),
    )
    reference: str = setting(
        "start",
        "Held near",
        "What the policy must not stray far from.",
        choices=("start", "first"),
    )
    learn_prompts: int = setting(
        500,
        "Prompts to learn from",
        "By methods that learn from the policy's own answers.",
        min=1,
        max=10_000_000,
    )
    second_opinion: bool = setting(
        True,
        "Second opinion",
        "Train another reward model on the judgments that the first never sees: where the two part, the policy may have"
        " learned to please the first alone.",
    )
    evaluation_prompts: int = setting(
        100,
        "Prompts to compare on",
        "Held-out prompts that the new and the old policy answer, twice each.",
        min=2,
        max=100_000,
    )
    people_compare: int = setting(
        0,
        "Comparisons by people",
        "So many of these pairs, old and new, are put in front of people, who do not know which is which; the round waits"
        " for them. 0: none.",
        min=0,
        max=100_000,
    )
    promote_alone: bool = setting(
        False,
        "Promote by itself",
        "Promote the new policy where every gate was passed, without asking.",
    )
    # --- the gates ---
    min_judgments: int = setting(
        50, "Gate: judgments", "Fewest judgments to train on.", min=1, max=10_000_000
    )
    min_accuracy: float = setting(
        0.55, "Gate: accuracy", "Lowest accuracy of the reward model on fresh judgments.", min=0.0, max=1.0
    )
    of_people: float = setting(
        0.85,
        "Gate: beside people",
        "Lowest share of the annotators' own agreement, where several judged the same answers.",
        min=0.0,
        max=2.0,
    )
    may_lose: float = setting(
        0.03,
        "Gate: beside the old one",
        "How much less accurate than the old reward model the new one may be, on the same fresh judgments.",
        min=0.0,
        max=1.0,
    )
    max_calibration: float = setting(
        0.15, "Gate: calibration", "Highest calibration error.", min=0.0, max=1.0
    )
    min_unsafe_recall: float = setting(
        0.6,
        "Gate: unsafe found",
        "Lowest share of unsafe answers found, where there are labels.",
        min=0.0,
        max=1.0,
    )
    max_kl: float = setting(
        60.0,
        "Gate: KL",
        "Nats a response by which its answers may stray from the policy that it was held near.",
        min=0.0,
        max=1e6,
    )
    max_length_drift: float = setting(
        1.5, "Gate: length", "How many times longer, or shorter, the answers may become.", min=1.0, max=100.0
    )

    def to_dict(self) -> dict[str, Value]:
        return dataclasses.asdict(self)

    @property
    def sampled_at(self) -> list[float]:
        """The temperatures, as numbers."""
        return [float(part) for part in self.temperatures.split(",")]


MAIN = ("judgments", "budget", "start", "strategy")
"""The settings worth a thought every time."""


def settings_from(values: Mapping[str, Any], recipe: str = "") -> RoundSettings:
    """The checked settings: the recipe's own where nothing is given. Raises ConfigError naming the field."""
    if recipe and recipe not in RECIPES:
        raise ConfigError("recipe", f"there is no recipe called {recipe!r}; there are {', '.join(RECIPES)}.")
    fields = {item.name: item for item in dataclasses.fields(RoundSettings)}
    resolved: dict[str, Any] = dict(RECIPES[recipe].options) if recipe else {}
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(str(name), "a round has no such setting.")
        value = float(value) if fields[name].type == "float" and type(value) is int else value
        check(fields[name], value)
        resolved[name] = value
    found = RoundSettings(**resolved)
    try:
        temperatures = found.sampled_at
    except ValueError:
        temperatures = []
    if not 1 <= len(temperatures) <= 9 or not all(0 < one <= 10 for one in temperatures):
        raise ConfigError("temperatures", "must be one to nine numbers from 0 to 10, separated by commas.")
    if found.start == "base" and recipe and not RECIPES[recipe].of(Demonstrations):
        raise ConfigError(
            "start", "the base model can only be taken by a recipe that learns from demonstrations."
        )
    return found


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
