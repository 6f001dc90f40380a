"""The recipes of the loop: each is a short list of stages. Adding a recipe is adding one such list.

A round does what stands around them in every recipe: it waits for judgments, freezes them, measures the reward models and
lets the gates decide, lets the new policy answer beside the old one, has it promoted or not, and asks people anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.configs.fields import Value


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
            "PPO, held near the first policy. People are asked about the newest policy and the one before (Touvron et al. "
            "2023).",
            (
                Reward(config={"margin": "small"}),
                SafetyReward(config={"margin": "small", "safety_weight": 1.0}),
                Improve("rejection", "Learn from the best of several answers"),
                Improve("ppo", "Improve the policy by PPO", {"whiten_scores": True}),
            ),
            {"previous_share": 0.5, "reference": "first"},
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
