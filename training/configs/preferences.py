"""Settings of the kinds that learn from judgments, the reward model, DPO and KTO, and of the evaluation of a reward model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from training.configs.base import (
    Config,
    TrainingConfig,
    evaluate_every_setting,
    layout_setting,
    max_kl_setting,
    patience_setting,
    too_long_setting,
)
from training.configs.fields import ConfigError, setting, split_names
from training.configs.fields import gettext_noop as _

DEGREES = ("significantly", "better", "slightly", "negligibly")
"""How much better the preferred response is, strongest first (Llama 2, section 3.1)."""

MARGINS: dict[str, dict[str, float]] = {
    "none": {"significantly": 0.0, "better": 0.0, "slightly": 0.0, "negligibly": 0.0},
    "small": {"significantly": 1.0, "better": 2 / 3, "slightly": 1 / 3, "negligibly": 0.0},
    "large": {"significantly": 3.0, "better": 2.0, "slightly": 1.0, "negligibly": 0.0},
}
"""Margin by degree, in logits (Llama 2, table 27)."""

MAX_CRITERIA = 8


def is_criterion(name: object) -> bool:
    """Whether `name` can be the key of a criterion that responses are rated by."""
    return isinstance(name, str) and re.fullmatch("[a-z][a-z0-9_]{0,39}", name) is not None


@dataclass(frozen=True, kw_only=True)
class JudgmentsConfig(TrainingConfig):
    """Settings of the kinds of run that learn from judgments."""

    distributable: ClassVar[bool] = True

    layout: str = layout_setting()
    batch_size: int = setting(
        16,
        _("Batch size"),
        _(
            "Sets of responses per step, each with all its rankings; InstructGPT used 64 prompts, Llama 2 512 pairs."
        ),
        min=1,
        max=65_536,
    )
    too_long_share: float = too_long_setting()
    evaluate_every: float = evaluate_every_setting(
        _(
            "Steps between two evaluations on held-out prompts, or below 1 a share of the run; 0: only at the end."
        )
    )
    patience: int = patience_setting(
        _(
            "Let the policy answer held-out prompts at each evaluation, stop after this many without a higher score by the second"
            " reward model (or by the reward model, without a second one), and restore the best weights; 0: train to the end and"
            " use the last weights."
        )
    )

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.patience and not self.evaluate_every:
            raise ConfigError("patience", _("needs evaluations during training; set evaluate_every."))


@dataclass(frozen=True, kw_only=True)
class PairsConfig(JudgmentsConfig):
    """Settings of the kinds of run that learn from the pairs of judgments."""

    reduction: str = setting(
        "prompt",
        _("Loss reduction"),
        _(
            "prompt: every ranking has the same weight (InstructGPT); pair: every pair has, so long rankings weigh more."
        ),
        choices=("prompt", "pair"),
    )


@dataclass(frozen=True, kw_only=True)
class RewardConfig(PairsConfig):
    """A reward model from rankings and choices (InstructGPT, equation 1; Llama 2, equation 2)."""

    kind: ClassVar[str] = "reward"
    title: ClassVar[str] = "Reward model"

    learning_rate: float = setting(
        1e-4,
        _("Learning rate"),
        _("Peak learning rate; the papers used 9e-6 at 6B and 1e-5 at 7B."),
        min=1e-9,
        max=1.0,
    )
    epochs: int = setting(
        1, _("Epochs"), _("Passes over the judgments. More than one overfits large models."), min=1, max=1000
    )
    margin: str = setting(
        "small",
        _("Margin"),
        _(
            "How far the scores of a better and a worse response must be apart, by degree (Llama 2). Rankings without a degree"
            " have no margin."
        ),
        choices=("none", "small", "large"),
    )
    safety_weight: float = setting(
        0.0,
        _("Safety loss weight"),
        _(
            "Weight of a second loss on labels of safe and unsafe responses, with scores above 0 for safe ones; 0: no safety"
            " loss. Llama 2's safety reward model had one, of unknown weight. With it, scores are not centred at 0."
        ),
        min=0.0,
        max=1000.0,
    )
    criteria: str = setting(
        "",
        _("Criteria"),
        _(
            "Keys of criteria that responses are rated by, separated by commas, such as helpfulness, truthfulness; at most 8. For"
            " each the model learns one more score, from the pairs that its ratings order. Empty: the overall reward alone."
        ),
    )
    criteria_weight: float = setting(
        1.0,
        _("Criteria loss weight"),
        _(
            "Weight of the mean loss over the criteria, beside the loss of the overall reward; without criteria it has no effect."
        ),
        min=0.001,
        max=1000.0,
    )
    patience: int = patience_setting(
        _(
            "Stop after this many evaluations without a lower held-out loss, and restore the best weights; 0: train to the end"
            " and use the last weights."
        )
    )

    @property
    def criterion_names(self) -> list[str]:
        return split_names(self.criteria)

    def _check_relations(self) -> None:
        super()._check_relations()
        names = self.criterion_names
        for name in names:
            if not is_criterion(name):
                raise ConfigError(
                    "criteria",
                    _(
                        "holds %(name)s, which is no key of a criterion: a key has at most 40 lower-case letters, digits"
                        " and underscores, a letter first."
                    ),
                    name=repr(name[:60]),
                )
            if names.count(name) > 1:
                raise ConfigError("criteria", _("holds %(name)s twice."), name=name)
        if len(names) > MAX_CRITERIA:
            raise ConfigError(
                "criteria",
                _("can be at most %(limit)s, not %(number)s."),
                limit=MAX_CRITERIA,
                number=len(names),
            )


@dataclass(frozen=True, kw_only=True)
class DPOConfig(PairsConfig):
    """Direct preference optimisation of the policy on rankings and choices (Rafailov et al. 2023, equation 7)."""

    kind: ClassVar[str] = "dpo"
    title: ClassVar[str] = "Direct preference optimisation"

    learning_rate: float = setting(
        5e-5,
        _("Learning rate"),
        _("Peak learning rate; the authors used 5e-7 to 1e-6 on models of 3B and more."),
        min=1e-9,
        max=1.0,
    )
    beta: float = setting(
        0.1,
        _("Beta"),
        _("Strength of the KL constraint; higher values stay closer to the reference policy."),
        min=1e-4,
        max=100.0,
    )
    loss: str = setting(
        "sigmoid",
        _("Loss"),
        _(
            "sigmoid: DPO as published; ipo: the squared loss of Azar et al. 2023 on log-probs summed over the response, as in"
            " the paper; ipo_mean: the same on their mean per token, as in some trainers, so that length does not matter."
        ),
        choices=("sigmoid", "ipo", "ipo_mean"),
    )
    margin: str = setting(
        "none",
        _("Margin"),
        _(
            "How far the implicit rewards of a better and a worse response must be apart, by degree: Llama 2's table, used as in"
            " Amini et al. 2024. DPO as published has none."
        ),
        choices=("none", "small", "large"),
    )
    label_smoothing: float = setting(
        0.0,
        _("Label smoothing"),
        _("Fraction of judgments assumed to be wrong (cDPO)."),
        min=0.0,
        max=0.5,
    )
    nll_weight: float = setting(
        0.0,
        _("NLL weight"),
        _(
            "Weight of the best response's negative log-likelihood per token beside the preference loss, which keeps its"
            " probability from falling; Llama 3 used 0.2."
        ),
        min=0.0,
        max=100.0,
    )
    max_kl: float = max_kl_setting()

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.loss != "sigmoid" and self.label_smoothing:
            raise ConfigError("label_smoothing", _("must be 0 with IPO, which has no label smoothing."))
        if self.loss != "sigmoid" and self.margin != "none":
            raise ConfigError("margin", _("must be none with IPO, which has a target difference of its own."))


@dataclass(frozen=True, kw_only=True)
class KTOConfig(JudgmentsConfig):
    """Kahneman-Tversky optimisation of the policy on responses that are desirable or not (Ethayarajh et al. 2024)."""

    kind: ClassVar[str] = "kto"
    title: ClassVar[str] = "Kahneman-Tversky optimisation"

    batch_size: int = setting(
        16,
        _("Batch size"),
        _(
            "Sets of responses per step, each with all its rankings; at least 2, as the reference point is estimated from the"
            " prompts of a step with each other's responses. The paper used 32 responses."
        ),
        min=2,
        max=65_536,
    )
    learning_rate: float = setting(
        5e-5,
        _("Learning rate"),
        _("Peak learning rate; the authors used 5e-7 to 5e-6 on models of 1B and more."),
        min=1e-9,
        max=1.0,
    )
    beta: float = setting(
        0.1,
        _("Beta"),
        _("How fast the value of a response saturates; higher values stay closer to the reference policy."),
        min=1e-4,
        max=100.0,
    )
    desirable_weight: float = setting(
        1.0,
        _("Weight of desirable responses"),
        _(
            "Weight of the loss of a response that is ranked above more of the others than below; with many fewer of them than of"
            " undesirable ones, raise it until the two sums of weights are about equal."
        ),
        min=0.0,
        max=1000.0,
    )
    undesirable_weight: float = setting(
        1.0,
        _("Weight of undesirable responses"),
        _("Weight of the loss of a response that is ranked below more of the others than above."),
        min=0.0,
        max=1000.0,
    )
    max_kl: float = max_kl_setting()

    def _check_relations(self) -> None:
        super()._check_relations()
        if not self.desirable_weight and not self.undesirable_weight:
            raise ConfigError("undesirable_weight", _("must be above 0 if the other weight is 0."))


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """A reward model's scores and its agreement with people."""

    kind: ClassVar[str] = "evaluate"
    title: ClassVar[str] = "Evaluation"

    layout: str = layout_setting()
    too_long_share: float = too_long_setting()
    margin: str = setting(
        "small",
        _("Margin"),
        _(
            "The margin that the reward model was trained with; used only for the calibration error with margin."
        ),
        choices=("none", "small", "large"),
    )
    split: str = setting(
        "held_out",
        _("Rows in the report"),
        _("held_out: rows of held-out prompts; all: every row. Every row is scored in either case."),
        choices=("held_out", "all"),
    )
