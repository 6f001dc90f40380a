"""What learns from the policy's own responses: rejection sampling, PPO, GRPO, REINFORCE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.configs.base import TrainingConfig, layout_setting
from training.configs.fields import ConfigError, setting


@dataclass(frozen=True, kw_only=True)
class RolloutConfig(TrainingConfig):
    """What every kind of run that learns from the policy's own, scored responses has."""

    layout: str = layout_setting()
    learning_rate: float = setting(
        2e-5,
        "Learning rate",
        "Highest learning rate; Llama 2 and DeepSeekMath used 1e-6 at 7B and more.",
        min=1e-9,
        max=1.0,
    )
    schedule: str = setting(
        "constant",
        "Schedule",
        "How the learning rate falls after warm-up; Llama 2 and DeepSeekMath kept it constant.",
        choices=("cosine", "linear", "constant"),
    )
    log_every: int = setting(
        1,
        "Report every",
        "Steps between two reports; one has a whole rollout behind it.",
        min=1,
        max=1_000_000,
    )
    batch_size: int = setting(
        16,
        "Prompts a rollout",
        "Prompts answered before the policy learns from the answers; with fewer prompts, all of them. Llama 2 used 512.",
        min=1,
        max=65_536,
    )
    samples: int = setting(
        4,
        "Responses a prompt",
        "How often each prompt is answered. The prompt goes through the model once for all of them.",
        min=1,
        max=1024,
    )
    max_new_tokens: int = setting(
        256,
        "Longest response",
        "Most tokens of a response; one that is not finished by then is cut.",
        min=1,
        max=65_536,
    )
    temperature: float = setting(
        1.0,
        "Temperature",
        "Logits are divided by it when sampling and when learning, of the policy and of the reference alike.",
        min=0.01,
        max=10.0,
    )
    sample_tokens: int = setting(
        131_072,
        "Tokens while sampling",
        "Most tokens, prompts and responses together, kept in memory while responses are sampled.",
        min=64,
        max=16_777_216,
    )
    reward: str = setting(
        "score",
        "Reward",
        "score: the reward model's own; binary: 1 where it prefers the response to the prompt's stored baseline, else 0;"
        " probability: the probability that it does, sigmoid of the difference.",
        choices=("score", "binary", "probability"),
    )
    missing_end_penalty: float = setting(
        1.0,
        "Penalty for not ending",
        "Taken off the reward of a response that was cut because it never ended.",
        min=0.0,
        max=1e6,
    )

    def _check_relations(self) -> None:
        if self.max_new_tokens >= self.max_length:
            raise ConfigError(
                "max_new_tokens",
                f"the longest row, {self.max_length}, must leave room for at least a token of prompt.",
            )


@dataclass(frozen=True, kw_only=True)
class GradientConfig(RolloutConfig):
    """What every kind of run has that follows the gradient of the expected reward."""

    evaluate_every: int = setting(
        0,
        "Check every",
        "Steps between two checks on held-out prompts, the first before any step; 0 checks only at the end.",
        min=0,
        max=1_000_000,
    )
    patience: int = setting(
        0,
        "Patience",
        "Stop after so many checks without a better reward on held-out prompts, and keep the best weights; 0 goes on to"
        " the end and keeps the last.",
        min=0,
        max=100_000,
    )

    @property
    def steps_per_rollout(self) -> int:
        """Optimizer steps taken on each batch of samples."""
        return 1

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.patience and not self.evaluate_every:
            raise ConfigError("patience", "needs checks on the way; set how many steps apart they are.")


@dataclass(frozen=True, kw_only=True)
class ClippedConfig(GradientConfig):
    """What the methods with a clipped probability ratio have: several steps on the same samples."""

    updates: int = setting(
        1,
        "Mini-batches a rollout",
        "Parts that the prompts of a rollout are split into; each takes one step. Llama 2 used 8.",
        min=1,
        max=4096,
    )
    reuse: int = setting(
        1, "Passes a rollout", "How many times each sample is learned from; Llama 2 used 1.", min=1, max=100
    )
    clip_low: float = setting(
        0.2, "Clip, below", "How far the probability ratio may fall below 1.", min=0.0, max=1.0
    )
    clip_high: float = setting(
        0.2, "Clip, above", "How far the ratio may rise above 1; DAPO used 0.28.", min=0.0, max=100.0
    )

    @property
    def steps_per_rollout(self) -> int:
        return self.updates * self.reuse

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.updates > self.batch_size:
            raise ConfigError(
                "updates", f"{self.batch_size} prompts cannot be split into {self.updates} parts."
            )


@dataclass(frozen=True, kw_only=True)
class PPOConfig(ClippedConfig):
    """Proximal policy optimisation with a value model (Schulman et al. 2017; Ouyang et al. 2022; Llama 2)."""

    kind: ClassVar[str] = "ppo"
    title: ClassVar[str] = "PPO"

    updates: int = setting(
        4,
        "Mini-batches a rollout",
        "Parts that the prompts of a rollout are split into; each takes one step. Llama 2 used 8.",
        min=1,
        max=4096,
    )
    beta: float = setting(
        0.05,
        "KL weight",
        "Taken off the reward at every token, times log policy - log reference; Llama 2 used 0.01 at 7B and 13B, 0.005"
        " above, InstructGPT 0.02.",
        min=0.0,
        max=100.0,
    )
    kl_target: float = setting(
        0.0,
        "KL target",
        "Nats a response that an adaptive KL weight aims at (Ziegler et al. 2019, section 2.2); 0 keeps the weight fixed.",
        min=0.0,
        max=1e6,
    )
    whiten_scores: bool = setting(
        False, "Whiten scores", "Give the scores of a rollout mean 0 and variance 1 first, as Llama 2 did."
    )
    gamma: float = setting(1.0, "Discount", "How much a reward counts one token earlier.", min=0.0, max=1.0)
    gae_lambda: float = setting(
        0.95, "GAE lambda", "1 trusts the rewards alone, 0 the value model alone.", min=0.0, max=1.0
    )
    value_clip: float = setting(
        0.2,
        "Value clip",
        "How far a value may move from the one at sampling before the loss stops.",
        min=0.0,
        max=1e6,
    )
    value_coefficient: float = setting(
        0.1, "Value weight", "Weight of the value loss beside the policy's.", min=0.0, max=100.0
    )
    value_start: str = setting(
        "reward_model",
        "Value model",
        "What the value model starts from: the reward model, or the policy where their tokenizers differ.",
        choices=("reward_model", "policy"),
    )

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.kl_target and not self.beta:
            raise ConfigError("beta", "an adaptive weight must start above 0.")


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(ClippedConfig):
    """Group relative policy optimisation (Shao et al. 2024), with the switches of Dr. GRPO and DAPO."""

    kind: ClassVar[str] = "grpo"
    title: ClassVar[str] = "GRPO"

    samples: int = setting(
        8,
        "Responses a prompt",
        "The group whose rewards are compared; DeepSeekMath used 64, DAPO 16.",
        min=2,
        max=1024,
    )
    beta: float = setting(
        0.04,
        "KL weight",
        "Weight of the divergence from the reference in the loss; DeepSeekMath used 0.04. At 0, as in DAPO and Dr. GRPO,"
        " the reference is not run at all, and no divergence reported.",
        min=0.0,
        max=100.0,
    )
    scale_rewards: bool = setting(
        True,
        "Divide by the deviation",
        "Whether a group's rewards are divided by their standard deviation; Dr. GRPO does not.",
    )
    reduction: str = setting(
        "sequence",
        "Loss mean",
        "sequence: every response counts alike (GRPO); constant: every token counts alike, divided by the longest response"
        " allowed (Dr. GRPO); token: the mean over all tokens of a mini-batch (DAPO).",
        choices=("sequence", "constant", "token"),
    )
    drop_equal: bool = setting(
        False,
        "Drop equal groups",
        "Leave out prompts whose responses all have the same reward, as DAPO does; it does not sample others in their place.",
    )


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig(GradientConfig):
    """REINFORCE on whole responses, with a moving mean or the other samples as baseline (RLOO, Ahmadian et al. 2024)."""

    kind: ClassVar[str] = "reinforce"
    title: ClassVar[str] = "REINFORCE"

    beta: float = setting(
        0.05,
        "KL weight",
        "Taken off a response's reward, times its log policy - log reference; Ahmadian et al. used 0.03.",
        min=0.0,
        max=100.0,
    )
    baseline: str = setting(
        "leave_one_out",
        "Baseline",
        "leave_one_out: the mean reward of the prompt's other responses (RLOO); moving_mean: that of the rollouts before.",
        choices=("leave_one_out", "moving_mean"),
    )
    baseline_decay: float = setting(
        0.9, "Baseline decay", "Weight of the past in the moving mean.", min=0.0, max=0.9999
    )

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.baseline == "leave_one_out" and self.samples < 2:
            raise ConfigError(
                "samples", "leaving one out needs at least two; ask for more or choose the moving mean."
            )


@dataclass(frozen=True, kw_only=True)
class RejectionConfig(RolloutConfig):
    """Best-of-K sampling and fine-tuning on what was kept (Touvron et al. 2023, section 3.2.3)."""

    kind: ClassVar[str] = "rejection"
    title: ClassVar[str] = "Rejection sampling"

    learning_rate: float = setting(
        1e-4, "Learning rate", "Highest learning rate; Llama 2 used 2e-5 for fine-tuning.", min=1e-9, max=1.0
    )
    schedule: str = setting(
        "cosine",
        "Schedule",
        "How the learning rate falls after warm-up.",
        choices=("cosine", "linear", "constant"),
    )
    batch_size: int = setting(32, "Batch size", "Responses a step of the fine-tuning.", min=1, max=65_536)
    samples: int = setting(
        8, "Responses a prompt", "The best of so many is kept; Llama 2 tried 1 to 100.", min=1, max=1024
    )
    temperature: float = setting(
        1.0,
        "Temperature",
        "Of the sampling; the fine-tuning is at 1. After RLHF, Llama 2 found 1.2 to 1.3 best for 10 to 100 samples.",
        min=0.01,
        max=10.0,
    )
    reduction: str = setting(
        "token",
        "Loss mean",
        "token: every answer token of the batch counts alike; sequence: every answer counts alike.",
        choices=("token", "sequence"),
    )
