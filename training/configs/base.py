"""What every kind of run has, and what every kind has that takes gradient steps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from training.configs.fields import Value, check, setting


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every kind of run has."""

    kind: ClassVar[str]
    title: ClassVar[str]
    distributable: ClassVar[bool] = False
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
        4096,
        "Tokens at once",
        "Most tokens put through the model in one pass; lower it when memory runs out. It does not change the"
        " result beyond rounding.",
        min=64,
        max=16_777_216,
    )

    def validate(self) -> None:
        """Raise ConfigError for the first setting of a wrong type, out of bounds, or at odds with another."""
        for item in dataclasses.fields(self):
            check(item, getattr(self, item.name))
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


def layout_setting() -> Any:
    return setting(
        "shared",
        "Layout",
        "shared: each prompt goes through the model once, whatever number of responses it has; rows: every response"
        " with a copy of its prompt, for models that cannot share. Both give the same numbers.",
        choices=("shared", "rows"),
    )
