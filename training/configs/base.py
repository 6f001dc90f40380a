"""Settings of every kind of run, and of every kind that trains."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from training.configs.fields import ConfigError, Value, check, setting
from training.configs.fields import gettext_noop as _


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of every kind of run."""

    kind: ClassVar[str]
    title: ClassVar[str]
    distributable: ClassVar[bool] = False
    """Whether a run can use several processes."""

    seed: int = setting(
        0, _("Seed"), _("The same seed, data and machine give the same result."), min=0, max=2**31 - 1
    )
    precision: str = setting(
        "default",
        _("Precision"),
        _(
            "Number format of matrix products; weights and losses stay in float32. bfloat16 is faster on most hardware that"
            " supports it; auto measures when the run starts whether it is, and uses TF32 on accelerators where it is not."
            " default is float32 on a processor, and auto on an accelerator."
        ),
        choices=("default", "float32", "bfloat16", "auto"),
    )
    threads: int = setting(
        0, _("CPU threads"), _("CPU threads that the run may use; 0: PyTorch's default."), min=0, max=1024
    )
    max_length: int = setting(
        1024,
        _("Max sequence length"),
        _(
            "Tokens of a prompt with its response; by default, as many as the model reads, at most 4096. Longer prompts lose"
            " their oldest turns; last turns and responses are never cut: what exceeds the limit is left out."
        ),
        min=8,
        max=1_048_576,
    )
    batch_tokens: int = setting(
        4096,
        _("Tokens per batch"),
        _(
            "Maximum tokens in one pass of the model; lower it if memory runs out. It affects the result only by rounding."
        ),
        min=64,
        max=16_777_216,
    )

    def validate(self) -> None:
        """Raise ConfigError for the first setting with a wrong type, out of bounds, or inconsistent with another."""
        for item in dataclasses.fields(self):
            check(item, getattr(self, item.name))
        self._check_relations()

    def _check_relations(self) -> None:
        """Raise ConfigError for settings that are inconsistent with each other."""

    def to_dict(self) -> dict[str, Value]:
        """All settings by name, as JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """Settings of every kind of run that trains."""

    learning_rate: float = setting(1e-4, _("Learning rate"), _("Peak learning rate."), min=1e-9, max=1.0)
    schedule: str = setting(
        "cosine",
        _("Learning rate schedule"),
        _("How the learning rate falls after warmup."),
        choices=("cosine", "linear", "constant"),
    )
    final_lr_ratio: float = setting(
        0.1,
        _("Final learning rate ratio"),
        _("Final learning rate as a fraction of the peak."),
        min=0.0,
        max=1.0,
    )
    warmup_ratio: float = setting(
        0.03,
        _("Warmup ratio"),
        _("Fraction of the steps over which the learning rate rises linearly."),
        min=0.0,
        max=1.0,
    )
    warmup_min_steps: int = setting(
        5, _("Min warmup steps"), _("Warmup steps at least, whatever the ratio."), min=0, max=100_000
    )
    epochs: int = setting(1, _("Epochs"), _("Passes over the training data."), min=1, max=1000)
    max_steps: int = setting(
        0,
        _("Max steps"),
        _("End after this many steps; 0: the number that the epochs give."),
        min=0,
        max=10_000_000,
    )
    max_tokens: int = setting(
        0,
        _("Max tokens"),
        _(
            "Finish early once this many tokens were trained on; 0: no limit. The learning rate follows the planned steps, so it"
            " then ends above its final value."
        ),
        min=0,
        max=10**15,
    )
    max_minutes: float = setting(
        0.0,
        _("Max minutes"),
        _(
            "Finish early after this time, including the time before an interruption; 0: no limit. The final evaluation and"
            " writing the model come on top."
        ),
        min=0.0,
        max=1e6,
    )
    batch_size: int = setting(
        32,
        _("Batch size"),
        _("Examples per step; a ranking counts as one, whatever its length."),
        min=1,
        max=65_536,
    )
    weight_decay: float = setting(0.1, _("Weight decay"), _("AdamW's weight decay."), min=0.0, max=10.0)
    adam_beta1: float = setting(
        0.9, _("Adam beta 1"), _("Decay of AdamW's first moment."), min=0.0, max=0.9999
    )
    adam_beta2: float = setting(
        0.95, _("Adam beta 2"), _("Decay of AdamW's second moment."), min=0.0, max=0.99999
    )
    adam_epsilon: float = setting(
        1e-8,
        _("Adam epsilon"),
        _("AdamW's epsilon. Llama 2 used 1e-5, which lowers the effective learning rate of small models."),
        min=1e-12,
        max=1.0,
    )
    max_grad_norm: float = setting(
        1.0,
        _("Max gradient norm"),
        _("Gradients are clipped to this norm; 0: no clipping."),
        min=0.0,
        max=1e6,
    )
    log_every: int = setting(
        5, _("Log every (steps)"), _("Steps between two reports of metrics."), min=1, max=1_000_000
    )
    checkpoint_every: int = setting(
        50,
        _("Checkpoint every (steps)"),
        _("Steps between two checkpoints; 0: only when the run is stopped."),
        min=0,
        max=1_000_000,
    )
    gradient_checkpointing: bool = setting(
        False,
        _("Gradient checkpointing"),
        _(
            "Store only each layer's input and recompute its activations in the backward pass: about a third more work, much"
            " less memory, the same gradients."
        ),
    )
    lora_rank: int = setting(
        0,
        _("LoRA rank"),
        _(
            "Train low-rank adapters of this rank instead of the whole model (Hu et al. 2021) and merge them at the end; 0: full"
            " fine-tuning. LoRA needs about ten times the learning rate."
        ),
        min=0,
        max=4096,
    )
    lora_alpha: float = setting(
        16.0,
        _("LoRA alpha"),
        _("Adapters are scaled by alpha / rank; the paper set it to the first rank that it tried."),
        min=1e-3,
        max=1e5,
    )
    lora_targets: str = setting(
        "all-linear",
        _("LoRA targets"),
        _(
            "The matrices that get adapters: all-linear (all but the output projection), or names separated by commas, such as"
            " q_proj, v_proj (the paper's choice)."
        ),
    )
    quantize: str = setting(
        "none",
        _("Quantized base"),
        _(
            "nf4: with LoRA, store the matrices of the frozen model in 4 bits while it trains (QLoRA, Dettmers et al. 2023), in"
            " about an eighth of the memory; what is written is dequantized. Needs bitsandbytes where runs are done."
        ),
        choices=("none", "nf4"),
    )
    tensorboard: bool = setting(
        False,
        _("TensorBoard"),
        _("Also write the metrics as TensorBoard event files, to tensorboard/ in the output."),
    )
    tracker: str = setting(
        "none",
        _("Tracker"),
        _(
            "Also send the metrics to Weights & Biases, MLflow or Trackio, if it is installed where runs are done; its own"
            " environment variables say where that is."
        ),
        choices=("none", "wandb", "mlflow", "trackio"),
    )

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.quantize != "none" and not self.lora_rank:
            raise ConfigError("quantize", _("needs LoRA: 4-bit weights are frozen; set lora_rank."))


def too_long_setting() -> Any:
    return setting(
        0.05,
        _("Rows left out at most"),
        _(
            "Share of the rows that may be left out because a response, alone or with the last turn of the prompt, exceeds the"
            " maximum sequence length; if there are more, the run fails before it starts."
        ),
        min=0.0,
        max=1.0,
    )


def layout_setting() -> Any:
    return setting(
        "shared",
        _("Layout"),
        _(
            "shared: each prompt goes through the model once, with all its responses; rows: every response with a copy of its"
            " prompt, for models that do not support sharing. Both give the same numbers."
        ),
        choices=("shared", "rows"),
    )


def evaluate_every_setting(help: str) -> Any:
    """help: what is evaluated, a sentence."""
    return setting(0.0, _("Evaluate every (steps)"), help, min=0.0, max=1e6)


def patience_setting(help: str, default: int = 0) -> Any:
    return setting(default, _("Early-stopping patience"), help, min=0, max=100_000)


def max_kl_setting() -> Any:
    return setting(
        0.0,
        _("Max KL of the weights"),
        _(
            "With early stopping, weights farther from the reference than this, in nats per response, are not used; 0: no limit."
        ),
        min=0.0,
        max=1e6,
    )
