"""The settings of every kind of run, as frozen dataclasses.

Standard library only: the web tier builds its forms and checks its API input from these without loading torch,
and the training core reads the very same classes. Each field carries a label, a sentence of help, and its bounds
or choices in its metadata. Values are int, float, bool or str, nothing else.

The defaults suit models up to about a hundred million parameters and a few hundred judgments a round. Where a
paper's own value is for models of 7B and more, the field's help says which it was.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

Value = int | float | bool | str

DEGREES = ("significantly", "better", "slightly", "negligibly")
"""How much better the preferred response is, strongest first (Llama 2, section 3.1)."""

MARGINS: dict[str, dict[str, float]] = {
    "none": {"significantly": 0.0, "better": 0.0, "slightly": 0.0, "negligibly": 0.0},
    "small": {"significantly": 1.0, "better": 2 / 3, "slightly": 1 / 3, "negligibly": 0.0},
    "large": {"significantly": 3.0, "better": 2.0, "slightly": 1.0, "negligibly": 0.0},
}
"""Margin by degree, in logits (Llama 2, table 27)."""


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type or out of bounds. `field` names it, `message` says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def setting(
    default: Value,
    label: str,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field whose metadata holds what a form needs: label, help, min, max (inclusive), choices."""
    metadata = {"label": label, "help": help, "min": min, "max": max, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every kind of run has."""

    kind: ClassVar[str]
    title: ClassVar[str]
    spreads: ClassVar[bool] = False
    """Whether a run can be spread over several processes."""

    seed: int = setting(
        0, "Seed", "The same seed, data and machine give the same result.", min=0, max=2**31 - 1
    )
    precision: str = setting(
        "float32",
        "Precision",
        "Number format of the matrix products; weights and losses stay in float32. bfloat16 needs a processor"
        " that supports it, and is then faster.",
        choices=("float32", "bfloat16"),
    )
    threads: int = setting(
        0, "Threads", "Processor threads the run may use; 0 lets PyTorch decide.", min=0, max=1024
    )
    max_length: int = setting(
        1024,
        "Longest row",
        "Tokens of a prompt with its response. A prompt that is too long loses its oldest tokens; a response"
        " is never cut, and a row whose response alone does not fit is refused.",
        min=8,
        max=1_048_576,
    )
    batch_tokens: int = setting(
        8192,
        "Tokens at once",
        "Most tokens put through the model in one pass; lower it when memory runs out. It does not change the"
        " result beyond rounding.",
        min=64,
        max=16_777_216,
    )

    def validate(self) -> None:
        """Raise ConfigError for the first setting of a wrong type, out of bounds, or at odds with another."""
        for item in dataclasses.fields(self):
            _check(item, getattr(self, item.name))
        self._check_relations()

    def _check_relations(self) -> None:
        """Settings that must agree with each other."""

    def to_dict(self) -> dict[str, Value]:
        """Every setting by name, ready for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """What every kind of run that takes gradient steps has."""

    learning_rate: float = setting(1e-4, "Learning rate", "Highest learning rate.", min=1e-9, max=1.0)
    schedule: str = setting(
        "cosine",
        "Schedule",
        "How the learning rate falls after warm-up.",
        choices=("cosine", "linear", "constant"),
    )
    final_lr_ratio: float = setting(
        0.1, "Final rate", "The last learning rate as a share of the highest.", min=0.0, max=1.0
    )
    warmup_ratio: float = setting(
        0.03, "Warm-up", "Share of the steps over which the learning rate rises.", min=0.0, max=1.0
    )
    warmup_min_steps: int = setting(
        5, "Warm-up, at least", "Fewest warm-up steps, whatever the share says.", min=0, max=100_000
    )
    epochs: int = setting(1, "Epochs", "Passes over the training data.", min=1, max=1000)
    max_steps: int = setting(
        0,
        "Most steps",
        "Stop after this many steps; 0 means whatever the epochs come to.",
        min=0,
        max=10_000_000,
    )
    max_tokens: int = setting(
        0,
        "Most tokens",
        "End in good order once this many tokens were trained on; 0 means no limit. The learning rate follows the"
        " planned steps and is then still above its last value.",
        min=0,
        max=10**15,
    )
    max_minutes: float = setting(
        0.0,
        "Most minutes",
        "End in good order after this long, time before an interruption included; 0 means no limit. What comes"
        " after the last step (checks, writing) is added to it.",
        min=0.0,
        max=1e6,
    )
    batch_size: int = setting(
        32, "Batch size", "Examples a step; a ranking counts as one, whatever its length.", min=1, max=65_536
    )
    weight_decay: float = setting(0.1, "Weight decay", "AdamW's weight decay.", min=0.0, max=10.0)
    adam_beta1: float = setting(0.9, "Adam beta 1", "Decay of AdamW's first moment.", min=0.0, max=0.9999)
    adam_beta2: float = setting(0.95, "Adam beta 2", "Decay of AdamW's second moment.", min=0.0, max=0.99999)
    adam_epsilon: float = setting(
        1e-8,
        "Adam epsilon",
        "AdamW's epsilon. Llama 2 used 1e-5, which on small models acts as a second, hidden learning rate.",
        min=1e-12,
        max=1.0,
    )
    max_grad_norm: float = setting(
        1.0, "Gradient clip", "Longest gradient; 0 leaves gradients as they are.", min=0.0, max=1e6
    )
    log_every: int = setting(5, "Report every", "Steps between two reports.", min=1, max=1_000_000)
    checkpoint_every: int = setting(
        50,
        "Save every",
        "Steps between two checkpoints; 0 saves only when the run is told to stop.",
        min=0,
        max=1_000_000,
    )
    gradient_checkpointing: bool = setting(
        False,
        "Recompute activations",
        "Keep only each layer's input and compute the rest again on the way back: about a third more work, far less"
        " memory, the same gradients.",
    )
    lora_rank: int = setting(
        0,
        "LoRA rank",
        "Train low-rank corrections of this rank beside the frozen matrices (Hu et al. 2021) and add them in at the"
        " end; 0 trains the whole model. LoRA wants about ten times the learning rate.",
        min=0,
        max=4096,
    )
    lora_alpha: float = setting(
        16.0,
        "LoRA alpha",
        "The corrections count alpha / rank times; the paper kept it at the first rank tried.",
        min=1e-3,
        max=1e5,
    )
    lora_targets: str = setting(
        "all-linear",
        "LoRA targets",
        "Which matrices are corrected: all-linear is every one but the output projection; or names, separated by"
        " commas, as in q_proj, v_proj (the paper's choice).",
    )
    tensorboard: bool = setting(
        False, "TensorBoard", "Write the metrics as TensorBoard events too, into tensorboard/ of the output."
    )


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Next-token prediction on plain text: a small Llama-type model and its tokenizer, from nothing."""

    kind: ClassVar[str] = "pretrain"
    title: ClassVar[str] = "Pre-training"
    spreads: ClassVar[bool] = True

    learning_rate: float = setting(
        1e-3,
        "Learning rate",
        "Highest learning rate. From scratch it is orders of magnitude above fine-tuning: about 1e-3 for small"
        " models, 3e-4 at 7B.",
        min=1e-9,
        max=1.0,
    )
    block_length: int = setting(
        256,
        "Block length",
        "Texts are joined end to end and cut into rows of this many tokens.",
        min=8,
        max=1_048_576,
    )
    vocab_size: int = setting(
        2048,
        "Vocabulary",
        "Entries of the byte-level BPE tokenizer trained on the data.",
        min=260,
        max=262_144,
    )
    hidden_size: int = setting(256, "Width", "Width of the model's hidden states.", min=8, max=16_384)
    intermediate_size: int = setting(
        704, "Inner width", "Width inside each feed-forward block.", min=8, max=65_536
    )
    layers: int = setting(4, "Layers", "Transformer layers.", min=1, max=256)
    heads: int = setting(4, "Heads", "Attention heads; the width must divide by them.", min=1, max=256)
    kv_heads: int = setting(
        4, "Key-value heads", "Heads that keep keys and values; fewer make the cache smaller.", min=1, max=256
    )
    tie_embeddings: bool = setting(
        True, "Tie embeddings", "Use one matrix for the input embeddings and the output projection."
    )

    def _check_relations(self) -> None:
        if self.hidden_size % self.heads:
            raise ConfigError("heads", f"the width {self.hidden_size} does not divide by {self.heads} heads.")
        if (self.hidden_size // self.heads) % 2:
            raise ConfigError(
                "heads", "the width of one head must be even, as positions are rotations of pairs."
            )
        if self.heads % self.kv_heads:
            raise ConfigError("kv_heads", f"{self.heads} heads cannot be shared out over {self.kv_heads}.")
        if self.block_length > self.max_length:
            raise ConfigError(
                "block_length", f"a block cannot be longer than the longest row, {self.max_length}."
            )


def _layout() -> Any:
    return setting(
        "shared",
        "Layout",
        "shared: each prompt goes through the model once, whatever number of responses it has; rows: every response"
        " with a copy of its prompt, for models that cannot share. Both give the same numbers.",
        choices=("shared", "rows"),
    )


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainingConfig):
    """Supervised fine-tuning on conversations; only the last answer is learned."""

    kind: ClassVar[str] = "sft"
    title: ClassVar[str] = "Supervised fine-tuning"
    spreads: ClassVar[bool] = True

    layout: str = _layout()
    learning_rate: float = setting(
        2e-4, "Learning rate", "Highest learning rate; Llama 2 used 2e-5 at 7B and more.", min=1e-9, max=1.0
    )
    epochs: int = setting(2, "Epochs", "Passes over the training data; Llama 2 took 2.", min=1, max=1000)
    reduction: str = setting(
        "token",
        "Loss mean",
        "token: every answer token of the batch counts alike; sequence: every answer counts alike.",
        choices=("token", "sequence"),
    )


@dataclass(frozen=True, kw_only=True)
class RewardConfig(TrainingConfig):
    """A reward model from rankings and choices (InstructGPT, equation 1; Llama 2, equation 2)."""

    kind: ClassVar[str] = "reward"
    title: ClassVar[str] = "Reward model"
    spreads: ClassVar[bool] = True

    layout: str = _layout()
    learning_rate: float = setting(
        1e-4,
        "Learning rate",
        "Highest learning rate; the papers used 9e-6 at 6B and 1e-5 at 7B.",
        min=1e-9,
        max=1.0,
    )
    epochs: int = setting(
        1, "Epochs", "Passes over the judgments. More than one overfits large models.", min=1, max=1000
    )
    batch_size: int = setting(
        16,
        "Batch size",
        "Sets of responses a step, each with all its rankings; InstructGPT used 64 prompts, Llama 2 512 pairs.",
        min=1,
        max=65_536,
    )
    margin: str = setting(
        "small",
        "Margin",
        "How far apart the scores of a clearly better and a worse response must be, by degree (Llama 2)."
        " Rankings without a degree have no margin.",
        choices=("none", "small", "large"),
    )
    safety_weight: float = setting(
        0.0,
        "Safety weight",
        "Weight of a second loss, which learns from labels of safe and unsafe responses that a score above 0 means safe;"
        " 0 leaves it out. Llama 2's safety reward model had one and does not say its weight. Scores are then not shifted"
        " to an average of 0.",
        min=0.0,
        max=1000.0,
    )
    reduction: str = setting(
        "prompt",
        "Loss mean",
        "prompt: every ranking counts alike (InstructGPT); pair: every pair does, so long rankings weigh more.",
        choices=("prompt", "pair"),
    )
    evaluate_every: int = setting(
        0,
        "Check every",
        "Steps between two checks on held-out prompts; 0 checks only at the end.",
        min=0,
        max=1_000_000,
    )
    patience: int = setting(
        0,
        "Patience",
        "Stop after so many checks without a lower loss on held-out prompts, and keep the best weights; 0 goes on to the"
        " end and keeps the last.",
        min=0,
        max=100_000,
    )

    def _check_relations(self) -> None:
        if self.patience and not self.evaluate_every:
            raise ConfigError("patience", "needs checks on the way; set how many steps apart they are.")


@dataclass(frozen=True, kw_only=True)
class DPOConfig(TrainingConfig):
    """Direct preference optimisation of the policy on rankings and choices (Rafailov et al. 2023, equation 7)."""

    kind: ClassVar[str] = "dpo"
    title: ClassVar[str] = "Direct preference optimisation"
    spreads: ClassVar[bool] = True

    layout: str = _layout()
    learning_rate: float = setting(
        5e-5,
        "Learning rate",
        "Highest learning rate; the authors used 5e-7 to 1e-6 on models of 3B and more.",
        min=1e-9,
        max=1.0,
    )
    batch_size: int = setting(
        16, "Batch size", "Sets of responses a step, each with all its rankings.", min=1, max=65_536
    )
    beta: float = setting(
        0.1,
        "Beta",
        "Strength of the pull towards the reference policy; higher stays closer.",
        min=1e-4,
        max=100.0,
    )
    loss: str = setting(
        "sigmoid",
        "Loss",
        "sigmoid: DPO as published; ipo: the squared loss of Azar et al. 2023, on log-probs summed over the response, as in"
        " the paper; ipo_mean: the same on their mean per token, as some trainers have it, so that length does not count.",
        choices=("sigmoid", "ipo", "ipo_mean"),
    )
    margin: str = setting(
        "none",
        "Margin",
        "How far apart the implicit rewards of a clearly better and a worse response must be, by degree: Llama 2's table,"
        " used as in Amini et al. 2024. DPO as published has none.",
        choices=("none", "small", "large"),
    )
    label_smoothing: float = setting(
        0.0,
        "Label smoothing",
        "Share of the judgments taken to be the wrong way round (cDPO).",
        min=0.0,
        max=0.5,
    )
    nll_weight: float = setting(
        0.0,
        "Likelihood weight",
        "Weight of the best response's negative log-likelihood per token beside the preference loss, which keeps"
        " its probability from falling; Llama 3 used 0.2.",
        min=0.0,
        max=100.0,
    )
    reduction: str = setting(
        "prompt",
        "Loss mean",
        "prompt: every ranking counts alike; pair: every pair does, so long rankings weigh more.",
        choices=("prompt", "pair"),
    )
    evaluate_every: int = setting(
        0,
        "Check every",
        "Steps between two checks on held-out prompts; 0 checks only at the end.",
        min=0,
        max=1_000_000,
    )

    def _check_relations(self) -> None:
        if self.loss != "sigmoid" and self.label_smoothing:
            raise ConfigError("label_smoothing", "IPO has no label smoothing; set it to 0.")
        if self.loss != "sigmoid" and self.margin != "none":
            raise ConfigError("margin", "IPO aims at a difference of its own; set it to none.")


@dataclass(frozen=True, kw_only=True)
class RolloutConfig(TrainingConfig):
    """What every kind of run that learns from the policy's own, scored responses has."""

    layout: str = _layout()
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


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(Config):
    """Sampling of k responses for every prompt."""

    kind: ClassVar[str] = "generate"
    title: ClassVar[str] = "Generation"

    samples: int = setting(4, "Responses a prompt", "How many responses each prompt gets.", min=1, max=64)
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
        "1 samples from the model's own distribution, lower is more cautious, 0 always takes the likeliest token.",
        min=0.0,
        max=10.0,
    )
    batch_tokens: int = setting(
        131_072,
        "Tokens at once",
        "Most tokens, prompts and responses together, kept in memory at once; lower it when memory runs out.",
        min=64,
        max=16_777_216,
    )

    server: str = setting(
        "",
        "Server",
        "Base URL of an OpenAI-compatible server (vLLM and the like) that answers instead of a model of ours, as in"
        " http://localhost:8000/v1. Its API key comes from the worker's environment: PALATE_API_KEY, sent only to the base"
        " URL in PALATE_API_SERVER. Empty: sample here.",
    )
    server_model: str = setting("", "Server's model", "What the server calls the model that is to answer.")
    concurrency: int = setting(
        16, "Requests at once", "Prompts under way at the server at once.", min=1, max=1024
    )
    retries: int = setting(
        5,
        "Retries",
        "How often a request is made again that met a busy or failing server, or none; with growing pauses, or those that"
        " the server asks for.",
        min=0,
        max=100,
    )
    timeout_s: float = setting(
        600.0, "Patience", "Seconds that one request to the server may take.", min=0.1, max=86_400.0
    )

    def _check_relations(self) -> None:
        if self.server and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", self.server):
            raise ConfigError(
                "server", "must be a URL that begins with http:// or https://, without a user or query."
            )
        if self.server and not self.server_model:
            raise ConfigError("server_model", "say which of the server's models is to answer.")
        if self.max_new_tokens >= self.max_length:
            raise ConfigError(
                "max_new_tokens",
                f"the longest row, {self.max_length}, must leave room for at least a token of prompt.",
            )
        if self.temperature == 0 and self.samples > 1:
            raise ConfigError(
                "temperature", "at 0 every response of a prompt would be the same; ask for one."
            )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """A reward model's scores and its agreement with people."""

    kind: ClassVar[str] = "evaluate"
    title: ClassVar[str] = "Evaluation"

    layout: str = _layout()
    margin: str = setting(
        "small",
        "Margin",
        "Margin by degree the reward model was trained with; used only for the second calibration figure.",
        choices=("none", "small", "large"),
    )
    split: str = setting(
        "held_out",
        "Rows to report on",
        "held_out: rows of held-out prompts only; all: every row. Every row is scored either way.",
        choices=("held_out", "all"),
    )


KINDS: dict[str, type[Config]] = {
    config.kind: config
    for config in (
        *(PretrainConfig, SFTConfig, RewardConfig, DPOConfig, GenerateConfig, EvaluateConfig),
        *(RejectionConfig, PPOConfig, GRPOConfig, ReinforceConfig),
    )
}
"""The config class of every kind of run."""


def from_dict(kind: str, values: Mapping[str, Any]) -> Config:
    """The checked config of a `kind` of run. Raises ConfigError naming an unknown kind or field, or a bad value."""
    if kind not in KINDS:
        raise ConfigError("kind", f"there is no kind of run called {kind!r}; there are {', '.join(KINDS)}.")
    config_class = KINDS[kind]
    fields = {item.name: item for item in dataclasses.fields(config_class)}
    resolved: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(str(name), f"a {kind} run has no such setting.")
        if fields[name].type == "float" and type(value) is int:
            value = float(value)
        _check(fields[name], value)
        resolved[name] = value
    config = config_class(**resolved)
    config.validate()
    return config


def to_dict(config: Config) -> dict[str, Value]:
    """Every setting of `config` by name, ready for JSON."""
    return config.to_dict()


_TYPES: dict[str, tuple[type, str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (bool, "true or false"),
    "str": (str, "text"),
}


def _check(item: dataclasses.Field[Any], value: object) -> None:
    """Raise ConfigError unless `value` is of the field's type and within its bounds and choices."""
    expected, words = _TYPES[str(item.type)]
    if type(value) is not expected:
        raise ConfigError(item.name, f"must be {words}, not {value!r}.")
    choices, low, high = item.metadata["choices"], item.metadata["min"], item.metadata["max"]
    if choices is not None and value not in choices:
        raise ConfigError(item.name, f"must be one of {', '.join(choices)}, not {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(item.name, "must be a finite number.")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if low is not None and value < low:
            raise ConfigError(item.name, f"must be at least {low:g}, not {value:g}.")
        if high is not None and value > high:
            raise ConfigError(item.name, f"must be at most {high:g}, not {value:g}.")
