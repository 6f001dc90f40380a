"""Default learning rates by the number of parameters of the model that a run starts from, each with its source.

Models below `SMALL` have the default of the setting itself, which suits models of up to about a hundred million parameters: at
the rates of papers, which train larger models, they learn little, and at their rates larger models break.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from training.configs.fields import gettext_noop as _

SMALL = 500_000_000
"""Parameters below which a model is small."""
LORA_FACTOR = 10
"""Times the rate of full fine-tuning (Schulman et al. 2025, “LoRA Without Regret”)."""


class SizeDefault(NamedTuple):
    """A default `learning_rate` of these kinds of run. parameters: from how many on. source: paper and section."""

    kinds: tuple[str, ...]
    parameters: int
    learning_rate: float
    source: str


SIZE_DEFAULTS = (
    SizeDefault(("pretrain",), SMALL, 3e-4, _("Llama 2 (arXiv 2307.09288), table 1, 7B and 13B")),
    SizeDefault(("pretrain",), 30_000_000_000, 1.5e-4, _("Llama 2 (arXiv 2307.09288), table 1, 34B and 70B")),
    SizeDefault(
        ("sft", "rejection", "rest", "hindsight"),
        SMALL,
        2e-5,
        _("fine-tuning in Llama 2 (arXiv 2307.09288), section 3.1"),
    ),
    SizeDefault(("reward",), SMALL, 1e-5, _("Llama 2 (arXiv 2307.09288), section 3.2.2, below 70B")),
    SizeDefault(("reward",), 65_000_000_000, 5e-6, _("Llama 2 (arXiv 2307.09288), section 3.2.2, 70B")),
    SizeDefault(("dpo", "online"), SMALL, 1e-6, _("DPO (arXiv 2305.18290), appendix B")),
    SizeDefault(("dpo", "online"), 6_500_000_000, 5e-7, _("Zephyr (arXiv 2310.16944), section 4.4, 7B")),
    SizeDefault(("dpo", "online"), 65_000_000_000, 2e-7, _("Tülu 3 (arXiv 2411.15124), section 5, 70B")),
    SizeDefault(("kto",), SMALL, 5e-7, _("the lowest rate that TRL's documentation recommends for KTO")),
    SizeDefault(("ppo",), SMALL, 1e-6, _("Llama 2 (arXiv 2307.09288), section 3.2.3")),
    SizeDefault(("grpo",), SMALL, 1e-6, _("DeepSeekMath (arXiv 2402.03300), section 4.2")),
    SizeDefault(("reinforce",), SMALL, 1e-6, _("the default of TRL's RLOO trainer")),
)
"""By kind of run, from small models to large ones."""


def size_default(kind: str, parameters: int | None) -> SizeDefault | None:
    """The row for a model of so many parameters; None for a small one, and for kinds that train nothing. A model of unknown size
    has the row of the smallest that are not small: too low a rate costs time, too high a one the model."""
    size = SMALL if parameters is None else parameters
    rows = [row for row in SIZE_DEFAULTS if kind in row.kinds and row.parameters <= size]
    return rows[-1] if rows else None


def lora_rate(learning_rate: float) -> float:
    """The learning rate of LoRA where that of full fine-tuning is `learning_rate`."""
    return float(f"{LORA_FACTOR * learning_rate:.6g}")


def default_learning_rate(kind: str, parameters: int | None, config: Mapping[str, Any]) -> dict[str, float]:
    """`learning_rate` for a run of this kind that sets none, with this config besides; empty for the setting's own default."""
    row = size_default(kind, parameters)
    if row is None:
        return {}
    return {"learning_rate": lora_rate(row.learning_rate) if config.get("lora_rank") else row.learning_rate}
