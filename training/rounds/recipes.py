"""The recipes of a loop, each a short list of stages. A new recipe is a new list.

The steps around the stages are the same in every recipe (`training.rounds.steps`): judgments are collected and frozen, the
reward models and the new policy are evaluated and pass gates, a lead decides, and new answers go to annotators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.configs.fields import Value
from training.configs.fields import gettext_noop as _


@dataclass(frozen=True)
class Stage:
    """One kind of run in a recipe, with the settings that differ from that kind's defaults."""

    kind: str
    title: str
    config: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Demonstrations(Stage):
    """Fine-tuning on the answers that annotators wrote. Left out of a round without any."""

    kind: str = "sft"
    title: str = _("Fine-tune on demonstrations")


@dataclass(frozen=True)
class Reward(Stage):
    """A reward model, trained on all judgments."""

    kind: str = "reward"
    title: str = _("Train the reward model")


@dataclass(frozen=True)
class SafetyReward(Stage):
    """A second reward model, trained on the judgments of the loop's safety project. Left out of a loop without one."""

    kind: str = "reward"
    title: str = _("Train the safety reward model")


@dataclass(frozen=True)
class Improve(Stage):
    """A method that improves the policy. Of several, each starts from the result of the one before."""


@dataclass(frozen=True)
class Recipe:
    """options: `RoundSettings` in which the recipe's paper differs from our defaults."""

    name: str
    title: str
    sentence: str
    stages: tuple[Stage, ...]
    options: Mapping[str, Value] = field(default_factory=dict)

    def stages_of(self, kind: type[Stage]) -> list[Stage]:
        return [stage for stage in self.stages if isinstance(stage, kind)]


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "dpo",
            _("DPO"),
            _(
                "The policy is trained on the preferences directly (Rafailov et al. 2023), and on the best answers as in"
                " Llama 3, so that they become no less likely. The fastest and most stable recipe."
            ),
            (Reward(), Improve("dpo", _("Improve the policy by DPO"), {"nll_weight": 0.2})),
        ),
        Recipe(
            "kto",
            _("KTO"),
            _(
                "The policy is trained on each judged answer by itself, as desirable or undesirable (Ethayarajh et al. 2024)."
                " As fast as DPO."
            ),
            (Reward(), Improve("kto", _("Improve the policy by KTO"))),
        ),
        Recipe(
            "llama2",
            _("Llama 2"),
            _(
                "Reward models with margins, one of them for safety; rejection sampling, with the best answers of earlier rounds;"
                " then PPO with the first policy as KL reference. Annotators see answers of the newest policy and of the one "
                "before (Touvron et al. 2023)."
            ),
            (
                Reward(config={"margin": "small"}),
                SafetyReward(config={"margin": "small", "safety_weight": 1.0}),
                Improve("rejection", _("Improve the policy by rejection sampling")),
                Improve("ppo", _("Improve the policy by PPO"), {"whiten_scores": True}),
            ),
            {"previous_share": 0.5, "reference": "first"},
        ),
        Recipe(
            "instructgpt",
            _("InstructGPT"),
            _(
                "Fine-tuning on demonstrations, a reward model trained on whole rankings, then PPO with the fine-tuned policy as "
                "KL reference (Ouyang et al. 2022)."
            ),
            (
                Demonstrations(),
                Reward(config={"margin": "none"}),
                Improve("ppo", _("Improve the policy by PPO")),
            ),
        ),
        Recipe(
            "grpo",
            _("GRPO"),
            _(
                "Several answers to each prompt; each answer's score is compared with the others' (Shao et al. 2024)."
            ),
            (Reward(), Improve("grpo", _("Improve the policy by GRPO"))),
        ),
        Recipe(
            "rejection",
            _("Rejection sampling"),
            _("Fine-tuning on the best of several answers to each prompt, with the best of earlier rounds."),
            (Reward(), Improve("rejection", _("Improve the policy by rejection sampling"))),
        ),
        Recipe(
            "rest",
            _("ReST"),
            _(
                "Several answers to each prompt, sampled once; fine-tuning on those with ever higher rewards, until held-out"
                " prompts score no higher (Gulcehre et al. 2023)."
            ),
            (Reward(), Improve("rest", _("Improve the policy by ReST"))),
        ),
        Recipe(
            "hindsight",
            _("Hindsight"),
            _(
                "The policy learns its best answers under a good instruction and its worst under a bad one, and is then used with"
                " the good one (Zhang et al. 2023)."
            ),
            (Reward(), Improve("hindsight", _("Improve the policy by Hindsight"))),
        ),
        Recipe(
            "reinforce",
            _("REINFORCE"),
            _(
                "The simplest policy gradient: answers that score above the prompt's others become more likely (Ahmadian et al. "
                "2024)."
            ),
            (Reward(), Improve("reinforce", _("Improve the policy by REINFORCE"))),
        ),
        Recipe(
            "online",
            _("Online DPO"),
            _(
                "DPO on pairs of the policy's own new answers, of which the reward model says which is better (Guo et al. 2024)."
            ),
            (Reward(), Improve("online", _("Improve the policy by online DPO"))),
        ),
        Recipe(
            "binary",
            _("Preferred to a baseline"),
            _(
                "REINFORCE with a reward of 1 where the answer is preferred to the prompt's stored baseline, else 0."
            ),
            (Reward(), Improve("reinforce", _("Improve the policy by REINFORCE"), {"reward": "binary"})),
        ),
    )
}
