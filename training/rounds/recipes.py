"""The recipes of a loop, each a short list of stages. A new recipe is a new list.

The steps around the stages are the same in every recipe (`training.rounds.steps`): judgments are collected and frozen, the
reward models and the new policy are evaluated and pass gates, a lead decides, and new answers go to annotators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from training.configs.fields import Value
from training.configs.fields import gettext_noop as _


@dataclass(frozen=True)
class Stage:
    """One kind of run in a recipe, with the settings that differ from that kind's defaults."""

    kind: str
    title: str
    config: Mapping[str, Value] = field(default_factory=dict)


AnyStage = TypeVar("AnyStage", bound=Stage)


@dataclass(frozen=True)
class Demonstrations(Stage):
    """Fine-tuning on the answers that annotators wrote. Left out of a round without any."""

    kind: str = "sft"
    title: str = _("Fine-tune on demonstrations")


@dataclass(frozen=True)
class Judge(Stage):
    """A model compares answers by the constitution. only_safety: the answers to prompts with the safety tag, which annotators do
    not get then."""

    kind: str = "judge"
    title: str = _("Ask the AI judge")
    only_safety: bool = False


@dataclass(frozen=True)
class Reward(Stage):
    """A reward model, trained on all judgments. ai: `with` the judge's opinions on other prompts, or on these `only`."""

    kind: str = "reward"
    title: str = _("Train the reward model")
    ai: str = ""


@dataclass(frozen=True)
class SafetyReward(Stage):
    """A second reward model, trained on the judgments of the loop's safety project. Left out of a loop without one."""

    kind: str = "reward"
    title: str = _("Train the safety reward model")


@dataclass(frozen=True)
class Revise(Stage):
    """The policy's answers are revised by the constitution, for a method that fine-tunes on the revisions."""

    kind: str = "revise"
    title: str = _("Revise answers by the constitution")


@dataclass(frozen=True)
class Improve(Stage):
    """A method that improves the policy. Of several, each starts from the result of the one before.

    ai: it learns from judgments `with` the judge's opinions or from these `only`; from the `score` that the judge gives each
    answer, in place of the reward model's; or from the `revisions`.
    """

    ai: str = ""


@dataclass(frozen=True)
class Recipe:
    """options: `RoundSettings` in which the recipe's paper differs from our defaults."""

    name: str
    title: str
    sentence: str
    stages: tuple[Stage, ...]
    options: Mapping[str, Value] = field(default_factory=dict)

    def stages_of(self, kind: type[AnyStage]) -> list[AnyStage]:
        return [stage for stage in self.stages if isinstance(stage, kind)]

    @property
    def needs_ai(self) -> bool:
        """Whether it cannot do with people's judgments alone."""
        uses = {stage.ai for stage in self.stages_of(Reward)} | {
            stage.ai for stage in self.stages_of(Improve)
        }
        return bool(uses - {"", "with"})

    @property
    def shares_with_ai(self) -> bool:
        """Whether people and the judge may compare answers to any prompt, and both are learned from."""
        return any(stage.ai == "with" for stage in self.stages_of(Improve)) and not self.ai_judges_safety

    @property
    def ai_judges_safety(self) -> bool:
        """Whether the judge alone compares answers to prompts with the safety tag."""
        return any(stage.only_safety for stage in self.stages_of(Judge))


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
        Recipe(
            "rlaif",
            _("RLAIF"),
            _(
                "An AI judge compares answers by the constitution; the reward model and DPO learn from its opinions, and people's"
                " judgments tell whether it may be trusted (Lee et al. 2023)."
            ),
            (
                Judge(),
                Reward(ai="only"),
                Improve("dpo", _("Improve the policy by DPO"), {"nll_weight": 0.2}, ai="only"),
            ),
            {"ai_prompts": 500},
        ),
        Recipe(
            "rlaif-direct",
            _("RLAIF, direct"),
            _(
                "The AI judge scores each answer of the policy, and its score is the reward; the reward model, trained on"
                " people's judgments, only measures (Lee et al. 2023)."
            ),
            (
                Judge(),
                Reward(),
                Improve("grpo", _("Improve the policy by GRPO"), {"judge_mode": "score"}, ai="score"),
            ),
        ),
        Recipe(
            "cai",
            _("Constitutional AI"),
            _(
                "Answers are revised by the constitution and learned; then the AI judge compares answers to prompts with the"
                " safety tag, people all others, and PPO learns from both: no person reads answers to harmful prompts (Bai et"
                " al. 2022)."
            ),
            (
                Judge(only_safety=True),
                Reward(ai="with"),
                Revise(),
                Improve("sft", _("Fine-tune on the revisions"), ai="revisions"),
                Improve("ppo", _("Improve the policy by PPO")),
            ),
            {"ai_prompts": 200, "second_opinion": False},
        ),
        Recipe(
            "mixed",
            _("People and AI"),
            _(
                "People judge some prompts, an AI judge many more; its opinions count as much as their agreement with people"
                " allows, and not at all if the judge is not good enough. Then DPO."
            ),
            (
                Judge(),
                Reward(ai="with"),
                Improve("dpo", _("Improve the policy by DPO"), {"nll_weight": 0.2}, ai="with"),
            ),
            {"ai_prompts": 500},
        ),
    )
}


def asks_judge(recipe: str) -> bool:
    """Whether a recipe has an AI judge."""
    return bool(RECIPES[recipe].stages_of(Judge))
