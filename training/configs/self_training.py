"""Settings of the kinds that fine-tune the policy on some of its own responses: rejection sampling, ReST, Hindsight."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from training.configs.base import max_kl_setting, patience_setting
from training.configs.fields import ConfigError, setting, split_names
from training.configs.fields import gettext_noop as _
from training.configs.rollouts import RepeatedConfig, RolloutConfig

MAX_THRESHOLDS = 20
MAX_INSTRUCTION = 200
"""Characters."""


@dataclass(frozen=True, kw_only=True)
class SelectedResponsesConfig(RolloutConfig):
    """Settings of the kinds that fine-tune the policy on the best of its own responses."""

    learning_rate: float = setting(
        1e-4,
        _("Learning rate"),
        _("Peak learning rate; Llama 2 used 2e-5 for fine-tuning."),
        min=1e-9,
        max=1.0,
    )
    schedule: str = setting(
        "cosine",
        _("Learning rate schedule"),
        _("How the learning rate falls after warmup."),
        choices=("cosine", "linear", "constant"),
    )
    batch_size: int = setting(
        32, _("Batch size"), _("Responses per step of the fine-tuning."), min=1, max=65_536
    )
    temperature: float = setting(
        1.0,
        _("Temperature"),
        _(
            "Of the sampling; fine-tuning is at 1. After RLHF, Llama 2 found 1.2 to 1.3 best for 10 to 100 samples."
        ),
        min=0.01,
        max=10.0,
    )
    reduction: str = setting(
        "token",
        _("Loss reduction"),
        _(
            "token: the mean over all response tokens of the batch; sequence: the mean over responses of each one's mean."
        ),
        choices=("token", "sequence"),
    )


@dataclass(frozen=True, kw_only=True)
class RejectionConfig(SelectedResponsesConfig):
    """Best-of-K sampling and fine-tuning on the best responses (Touvron et al. 2023, section 3.2.3)."""

    kind: ClassVar[str] = "rejection"
    title: ClassVar[str] = "Rejection sampling"

    samples: int = setting(
        8,
        _("Responses per prompt"),
        _("Samples per prompt, of which the best is learned; Llama 2 tried 1 to 100."),
        min=1,
        max=1024,
    )


@dataclass(frozen=True, kw_only=True)
class ReSTConfig(SelectedResponsesConfig):
    """Reinforced self-training: one Grow step, then Improve steps with rising thresholds (Gulcehre et al. 2023)."""

    kind: ClassVar[str] = "rest"
    title: ClassVar[str] = "ReST"

    schedule: str = setting(
        "constant",
        _("Learning rate schedule"),
        _("How the learning rate falls after warmup, over the whole run; each Improve step also lowers it."),
        choices=("cosine", "linear", "constant"),
    )
    epochs: int = setting(
        1, _("Epochs"), _("Passes over the selected responses in each Improve step."), min=1, max=1000
    )
    samples: int = setting(
        8,
        _("Responses per prompt"),
        _("Samples per prompt, all of which stay available to the Improve steps."),
        min=1,
        max=1024,
    )
    thresholds: str = setting(
        "0.7, 0.8, 0.9, 0.95, 0.99",
        _("Reward thresholds"),
        _(
            "One for each Improve step, rising, separated by commas: it learns from the responses whose reward exceeds the"
            " threshold, where 0 is the lowest and 1 the highest reward of all samples. The first is the mean reward, if that is"
            " higher. The paper used up to six of 0, 0.7, 0.8, 0.9, 0.95 and 0.99."
        ),
    )
    lr_decay: float = setting(
        0.5,
        _("Learning rate decay"),
        _("Each Improve step's learning rate is this fraction of the one before; the paper lowered it too."),
        min=0.001,
        max=1.0,
    )
    patience: int = patience_setting(
        _(
            "Stop after this many Improve steps without a higher held-out reward, by the second reward model if there is one, and"
            " restore the best weights; 0: take all of them and use the last weights."
        ),
        default=1,
    )
    max_kl: float = max_kl_setting()

    @property
    def threshold_values(self) -> list[float]:
        return [float(part) for part in split_names(self.thresholds)]

    def _check_relations(self) -> None:
        super()._check_relations()
        try:
            values = self.threshold_values
        except ValueError:
            values = []
        rise = all(low < high for low, high in pairwise(values))
        if not (1 <= len(values) <= MAX_THRESHOLDS and all(0 <= value <= 1 for value in values) and rise):
            raise ConfigError(
                "thresholds",
                _("must be one to %(limit)s rising numbers from 0 to 1, separated by commas."),
                limit=MAX_THRESHOLDS,
            )


@dataclass(frozen=True, kw_only=True)
class HindsightConfig(RepeatedConfig):
    """Hindsight instruction relabeling (Zhang et al. 2023)."""

    kind: ClassVar[str] = "hindsight"
    title: ClassVar[str] = "Hindsight"

    learning_rate: float = setting(
        1e-4,
        _("Learning rate"),
        _("Peak learning rate; the paper used 5e-4, with AdamW and no schedule."),
        min=1e-9,
        max=1.0,
    )
    samples: int = setting(
        6,
        _("Responses per prompt"),
        _("Samples per prompt, under the good instruction."),
        min=1,
        max=1024,
    )
    good_instruction: str = setting(
        "Give a good answer.",
        _("Good instruction"),
        _(
            "A sentence put before the last message of the user, on a line of its own: in training, and wherever the model that"
            " the run makes is used here."
        ),
    )
    bad_instruction: str = setting(
        "Give a bad answer.",
        _("Bad instruction"),
        _("The sentence for responses with low rewards, only used in training."),
    )
    compare: str = setting(
        "prompt",
        _("Rewards are compared"),
        _(
            "The top third of the responses gets the good instruction, the bottom third the bad one, the middle is left out:"
            " prompt, among the responses to the same prompt; batch, among all of the rollout."
        ),
        choices=("prompt", "batch"),
    )
    label_smoothing: float = setting(
        0.0,
        _("Label smoothing"),
        _(
            "Of the next tokens and of the choice between the two instructions. The paper used 0.2; sampled at temperature 1,"
            " that share of the tokens is random."
        ),
        min=0.0,
        max=0.49,
    )
    entropy_weight: float = setting(
        0.001,
        _("Entropy weight"),
        _("Weight of the entropy of the next token, which is raised; the paper used 0.001."),
        min=0.0,
        max=10.0,
    )

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.compare == "prompt" and self.samples < 3:
            raise ConfigError("samples", _("must be at least 3, for a top and a bottom third of a prompt's."))
        for name in ("good_instruction", "bad_instruction"):
            text = getattr(self, name)
            if not text.strip() or len(text) > MAX_INSTRUCTION or len(text.splitlines()) > 1:
                raise ConfigError(
                    name, _("must be one line of 1 to %(limit)s characters."), limit=MAX_INSTRUCTION
                )
        if self.good_instruction.strip() == self.bad_instruction.strip():
            raise ConfigError("bad_instruction", _("must differ from the good instruction."))
