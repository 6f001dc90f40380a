"""Settings of pre-training and supervised fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.configs.base import TrainingConfig, layout_setting, too_long_setting
from training.configs.fields import ConfigError, setting
from training.configs.fields import gettext_noop as _


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Next-token prediction on plain text, by default of a new Llama-type model and its tokenizer."""

    kind: ClassVar[str] = "pretrain"
    title: ClassVar[str] = "Pre-training"
    distributable: ClassVar[bool] = True

    learning_rate: float = setting(
        1e-3,
        _("Learning rate"),
        _(
            "Peak learning rate. From scratch it is orders of magnitude higher than for fine-tuning: about 1e-3 for small models,"
            " 3e-4 at 7B."
        ),
        min=1e-9,
        max=1.0,
    )
    block_length: int = setting(
        256,
        _("Block length"),
        _("Texts are concatenated and cut into sequences of this many tokens."),
        min=8,
        max=1_048_576,
    )
    vocab_size: int = setting(
        2048,
        _("Vocabulary size"),
        _("Entries of the byte-level BPE tokenizer that is trained on the data."),
        min=260,
        max=262_144,
    )
    hidden_size: int = setting(
        256, _("Hidden size"), _("Size of the model's hidden states."), min=8, max=16_384
    )
    intermediate_size: int = setting(
        704, _("Feed-forward size"), _("Size inside each feed-forward block."), min=8, max=65_536
    )
    layers: int = setting(4, _("Layers"), _("Transformer layers."), min=1, max=256)
    heads: int = setting(
        4,
        _("Attention heads"),
        _("Attention heads; the hidden size must be divisible by them."),
        min=1,
        max=256,
    )
    kv_heads: int = setting(
        4,
        _("Key-value heads"),
        _("Heads with keys and values of their own; fewer make the cache smaller."),
        min=1,
        max=256,
    )
    tie_embeddings: bool = setting(
        True, _("Tie embeddings"), _("Use one matrix for the input embeddings and the output projection.")
    )

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.hidden_size % self.heads:
            raise ConfigError("heads", _("must divide the hidden size, %(size)s."), size=self.hidden_size)
        if (self.hidden_size // self.heads) % 2:
            raise ConfigError(
                "heads", _("must give heads of an even size, as rotary positions rotate pairs.")
            )
        if self.heads % self.kv_heads:
            raise ConfigError(
                "kv_heads", _("must divide the number of attention heads, %(heads)s."), heads=self.heads
            )
        if self.block_length > self.max_length:
            raise ConfigError(
                "block_length",
                _("must not exceed the maximum sequence length, %(limit)s."),
                limit=self.max_length,
            )


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainingConfig):
    """Supervised fine-tuning on the last answer of conversations."""

    kind: ClassVar[str] = "sft"
    title: ClassVar[str] = "Supervised fine-tuning"
    distributable: ClassVar[bool] = True

    layout: str = layout_setting()
    too_long_share: float = too_long_setting()
    learning_rate: float = setting(
        2e-4,
        _("Learning rate"),
        _("Peak learning rate; Llama 2 used 2e-5 at 7B and more."),
        min=1e-9,
        max=1.0,
    )
    epochs: int = setting(
        2, _("Epochs"), _("Passes over the training data; Llama 2 used 2."), min=1, max=1000
    )
    reduction: str = setting(
        "token",
        _("Loss reduction"),
        _(
            "token: the mean over all answer tokens of the batch; sequence: the mean over answers of each one's mean."
        ),
        choices=("token", "sequence"),
    )
