"""The settings of every kind of run, as frozen dataclasses.

Standard library only: the web tier builds its forms and validates API input from these without loading torch, and the
training core reads the same classes. Each field has a label, a sentence of help, and its bounds or choices in its metadata.
Values are int, float, bool or str.

The defaults suit models of up to about a hundred million parameters and a few hundred judgments per round. For larger models the
site takes the learning rates of papers (`size_defaults`). Where a paper's value is for models of 7B and more, the field's help
states it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from training.configs.base import Config, TrainingConfig
from training.configs.fields import HUB_MODEL, ConfigError, Value, checked, split_names
from training.configs.fields import gettext_noop as _
from training.configs.generation import GenerateConfig
from training.configs.judging import JudgeConfig, JudgingConfig, ReviseConfig
from training.configs.policy_gradients import (
    ClippedConfig,
    GRPOConfig,
    OnlineDPOConfig,
    PPOConfig,
    ReinforceConfig,
)
from training.configs.preferences import (
    DEGREES,
    MARGINS,
    DPOConfig,
    EvaluateConfig,
    KTOConfig,
    RewardConfig,
    is_criterion,
)
from training.configs.rollouts import GradientConfig, RolloutConfig
from training.configs.self_training import (
    HindsightConfig,
    RejectionConfig,
    ReSTConfig,
    SelectedResponsesConfig,
)
from training.configs.supervised import PretrainConfig, SFTConfig

__all__ = [
    "DEGREES",
    "HUB_MODEL",
    "KINDS",
    "MARGINS",
    "ClippedConfig",
    "Config",
    "ConfigError",
    "DPOConfig",
    "EvaluateConfig",
    "GRPOConfig",
    "GenerateConfig",
    "GradientConfig",
    "HindsightConfig",
    "JudgeConfig",
    "JudgingConfig",
    "KTOConfig",
    "OnlineDPOConfig",
    "PPOConfig",
    "PretrainConfig",
    "ReSTConfig",
    "ReinforceConfig",
    "RejectionConfig",
    "ReviseConfig",
    "RewardConfig",
    "RolloutConfig",
    "SFTConfig",
    "SelectedResponsesConfig",
    "TrainingConfig",
    "Value",
    "check_values",
    "from_dict",
    "is_criterion",
    "split_names",
]

KINDS: dict[str, type[Config]] = {
    config.kind: config
    for config in (
        *(PretrainConfig, SFTConfig, RewardConfig, DPOConfig, KTOConfig),
        *(RejectionConfig, ReSTConfig, HindsightConfig, PPOConfig, GRPOConfig, ReinforceConfig),
        OnlineDPOConfig,
        *(ReviseConfig, JudgeConfig),
        *(GenerateConfig, EvaluateConfig),
    )
}
"""The config class of every kind of run."""


def check_values(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are given, each checked by itself. Raises ConfigError for an unknown kind or field, or an invalid
    value."""
    if kind not in KINDS:
        text = _("there is no kind of run called %(kind)s; there are %(kinds)s.")
        raise ConfigError("kind", text, kind=repr(kind), kinds=", ".join(KINDS))
    fields = {item.name: item for item in dataclasses.fields(KINDS[kind])}
    resolved: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(str(name), _("a %(kind)s run has no such setting."), kind=kind)
        resolved[name] = checked(fields[name], value)
    return resolved


def from_dict(kind: str, values: Mapping[str, Any]) -> Config:
    """The validated config of a `kind` of run. Raises ConfigError for an unknown kind or field, an invalid value, or values
    that contradict each other."""
    checked_values = check_values(kind, values)
    config = KINDS[kind](**checked_values)
    config.validate()
    return config
