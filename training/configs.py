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


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Next-token prediction on plain text: a small Llama-type model and its tokenizer, from nothing."""

    kind: ClassVar[str] = "pretrain"
    title: ClassVar[str] = "Pre-training"

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
        "Rankings a step; InstructGPT used 64 prompts, Llama 2 512 pairs.",
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


@dataclass(frozen=True, kw_only=True)
class DPOConfig(TrainingConfig):
    """Direct preference optimisation of the policy on rankings and choices (Rafailov et al. 2023, equation 7)."""

    kind: ClassVar[str] = "dpo"
    title: ClassVar[str] = "Direct preference optimisation"

    layout: str = _layout()
    learning_rate: float = setting(
        5e-5,
        "Learning rate",
        "Highest learning rate; the authors used 5e-7 to 1e-6 on models of 3B and more.",
        min=1e-9,
        max=1.0,
    )
    batch_size: int = setting(16, "Batch size", "Rankings a step.", min=1, max=65_536)
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
        "sigmoid: DPO as published; ipo: the squared loss of Azar et al. 2023, on summed log-probs.",
        choices=("sigmoid", "ipo"),
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
        if self.loss == "ipo" and self.label_smoothing:
            raise ConfigError("label_smoothing", "IPO has no label smoothing; set it to 0.")


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

    def _check_relations(self) -> None:
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
    for config in (PretrainConfig, SFTConfig, RewardConfig, DPOConfig, GenerateConfig, EvaluateConfig)
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
