"""Settings of the kinds that change the policy while it samples: PPO, GRPO, REINFORCE, online DPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from training.configs.fields import ConfigError, setting
from training.configs.fields import gettext_noop as _
from training.configs.rollouts import GradientConfig, RepeatedConfig


def importance_cap_setting() -> Any:
    return setting(
        2.0,
        _("Cap of importance weights"),
        _(
            "With a sampler server, each token's loss is multiplied by the ratio of its probability in training to that at"
            " sampling, at most this (truncated importance sampling)."
        ),
        min=1.0,
        max=1000.0,
    )


@dataclass(frozen=True, kw_only=True)
class ClippedConfig(RepeatedConfig):
    """Settings of the methods with a clipped probability ratio."""

    clip_low: float = setting(
        0.2, _("Lower clip"), _("How far the probability ratio may fall below 1."), min=0.0, max=1.0
    )
    clip_high: float = setting(
        0.2,
        _("Upper clip"),
        _("How far the probability ratio may rise above 1; DAPO used 0.28."),
        min=0.0,
        max=100.0,
    )
    importance_cap: float = importance_cap_setting()


@dataclass(frozen=True, kw_only=True)
class PPOConfig(ClippedConfig):
    """Proximal policy optimisation with a value model (Schulman et al. 2017; Ouyang et al. 2022; Llama 2)."""

    kind: ClassVar[str] = "ppo"
    title: ClassVar[str] = "PPO"

    updates: int = setting(
        4,
        _("Mini-batches per rollout"),
        _("Mini-batches that the prompts of a rollout are split into, with one step each. Llama 2 used 8."),
        min=1,
        max=4096,
    )
    beta: float = setting(
        0.05,
        _("KL weight"),
        _(
            "Weight of log policy - log reference, subtracted from the reward at every token; Llama 2 used 0.01 at 7B and 13B,"
            " 0.005 above, InstructGPT 0.02."
        ),
        min=0.0,
        max=100.0,
    )
    kl_target: float = setting(
        0.0,
        _("KL target"),
        _(
            "KL, in nats per response, that an adaptive KL weight aims at (Ziegler et al. 2019, section 2.2); 0: a fixed weight."
        ),
        min=0.0,
        max=1e6,
    )
    whiten_scores: bool = setting(
        False,
        _("Whiten rewards"),
        _("Normalise the rewards of a rollout to mean 0 and variance 1, as Llama 2 did."),
    )
    gamma: float = setting(1.0, _("Discount (gamma)"), _("Discount of rewards per token."), min=0.0, max=1.0)
    gae_lambda: float = setting(
        0.95,
        _("GAE lambda"),
        _("1: advantages from rewards alone; 0: from the value model's one-step estimates."),
        min=0.0,
        max=1.0,
    )
    value_clip: float = setting(
        0.2,
        _("Value clip"),
        _("How far a value may move from the one at sampling before its loss is clipped."),
        min=0.0,
        max=1e6,
    )
    value_coefficient: float = setting(
        0.1, _("Value loss weight"), _("Weight of the value loss beside the policy loss."), min=0.0, max=100.0
    )
    value_start: str = setting(
        "auto",
        _("Value model initialisation"),
        _(
            "What the value model starts from. auto: the reward model where there is one that reads the policy's tokens, as in"
            " InstructGPT, else the policy."
        ),
        choices=("auto", "reward_model", "policy"),
    )

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.kl_target and not self.beta:
            raise ConfigError("beta", _("must be above 0 for an adaptive weight, kl_target."))


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(ClippedConfig):
    """Group relative policy optimisation (Shao et al. 2024), with the options of Dr. GRPO and DAPO."""

    kind: ClassVar[str] = "grpo"
    title: ClassVar[str] = "GRPO"

    samples: int = setting(
        8,
        _("Responses per prompt"),
        _("The size of the group whose rewards are compared; DeepSeekMath used 64, DAPO 16."),
        min=2,
        max=1024,
    )
    beta: float = setting(
        0.04,
        _("KL weight"),
        _(
            "Weight of the KL from the reference in the loss; DeepSeekMath used 0.04. At 0, as in DAPO and Dr. GRPO, the"
            " reference is not loaded and no KL reported."
        ),
        min=0.0,
        max=100.0,
    )
    scale_rewards: bool = setting(
        True,
        _("Divide by the standard deviation"),
        _("Whether a group's rewards are divided by their standard deviation; Dr. GRPO does not."),
    )
    reduction: str = setting(
        "sequence",
        _("Loss reduction"),
        _(
            "sequence: the mean over responses of each one's mean over tokens (GRPO); constant: the sum over tokens divided by"
            " max_new_tokens (Dr. GRPO); token: the mean over all tokens of a mini-batch (DAPO)."
        ),
        choices=("sequence", "constant", "token"),
    )
    drop_equal: bool = setting(
        False,
        _("Drop equal-reward groups"),
        _(
            "Leave out prompts whose responses all have the same reward, as DAPO does; no others are sampled in their place."
        ),
    )


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig(GradientConfig):
    """REINFORCE on whole responses, with a moving mean or the other samples as baseline (RLOO, Ahmadian et al. 2024)."""

    kind: ClassVar[str] = "reinforce"
    title: ClassVar[str] = "REINFORCE"

    beta: float = setting(
        0.05,
        _("KL weight"),
        _(
            "Weight of log policy - log reference, subtracted from a response's reward; Ahmadian et al. used 0.03."
        ),
        min=0.0,
        max=100.0,
    )
    baseline: str = setting(
        "leave_one_out",
        _("Baseline"),
        _(
            "leave_one_out: the mean reward of the prompt's other responses (RLOO); moving_mean: that of the previous rollouts."
        ),
        choices=("leave_one_out", "moving_mean"),
    )
    baseline_decay: float = setting(
        0.9, _("Baseline decay"), _("Weight of previous rollouts in the moving mean."), min=0.0, max=0.9999
    )
    importance_cap: float = importance_cap_setting()

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.baseline == "leave_one_out" and self.samples < 2:
            raise ConfigError("samples", _("must be at least 2 for the leave-one-out baseline."))


@dataclass(frozen=True, kw_only=True)
class OnlineDPOConfig(GradientConfig):
    """DPO on the policy's own responses, as the reward orders them (Guo et al. 2024)."""

    kind: ClassVar[str] = "online"
    title: ClassVar[str] = "Online DPO"

    samples: int = setting(
        2,
        _("Responses per prompt"),
        _("Samples per prompt, every two of which are a pair; the paper used 2."),
        min=2,
        max=64,
    )
    beta: float = setting(
        0.1,
        _("Beta"),
        _("Strength of the KL constraint; higher values stay closer to the reference policy."),
        min=1e-4,
        max=100.0,
    )
    labels: str = setting(
        "hard",
        _("Labels"),
        _(
            "hard: the response with the higher reward is preferred, and equal rewards are no pair (Guo et al.); soft: it is"
            " preferred with the probability that the rewards give, the sigmoid of their difference."
        ),
        choices=("hard", "soft"),
    )
