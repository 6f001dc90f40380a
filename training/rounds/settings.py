"""What a lead chooses about a round: what people are asked, where it starts, and what its gates let pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.configs.fields import ConfigError, Value, checked, setting
from training.rounds.recipes import RECIPES, Demonstrations

MOST_JUDGMENTS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    """What a lead chooses about a round. A loop keeps what differs from these defaults, a round all of it."""

    judgments: int = setting(
        200,
        "Judgments to wait for",
        "New ones, since the last snapshot. The round also goes on when the queue is empty.",
        min=1,
        max=MOST_JUDGMENTS,
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
    repeat_share: float = setting(
        0.1,
        "Judged once more",
        "Share of the items that one person more than usual judges: where people agree with each other is what a reward"
        " model is measured against.",
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
    learn_from: str = setting(
        "all",
        "DPO learns from",
        "All that was ever said, as reward models do; or what is new since the last round: the choices between answers of"
        " the policy that is being improved.",
        choices=("all", "new"),
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
        resolved[name] = checked(fields[name], value)
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
