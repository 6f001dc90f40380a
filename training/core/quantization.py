"""A frozen base of 4 bits under LoRA's adapters, through bitsandbytes (QLoRA).

Dettmers et al. 2023, arXiv 2305.14314. The matrices of the layers are stored in NF4, the 4-bit type for normally distributed
weights (section 3), in blocks of 64 whose scales are quantized again (double quantization); for each product they are
dequantized to the run's precision. Embeddings, the output projection, norms and heads stay as they are. At the end the matrices
are dequantized, and the adapters, which were learned for these values, are merged into them.
Left out: loading a model in 4 bits, so that it is never whole in memory; paged optimizers.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from training.configs import TrainingConfig
from training.core.errors import BadInput
from training.core.lora import find_transformers
from training.core.process_rank import world_size

SETTING = "quantize"


def quantize_base(model: nn.Module, config: TrainingConfig) -> None:
    """Store the matrices of every transformer within `model` in 4 bits, one after the other, without gradients.

    Raises BadInput without bitsandbytes, with several processes, or if the model has no matrices of the usual class.
    """
    if find_spec("bitsandbytes") is None:
        raise BadInput(
            "4-bit weights need bitsandbytes where runs are done: install it, or set quantize to none.",
            setting=SETTING,
        )
    if world_size() > 1:
        raise BadInput(
            "4-bit weights cannot be sharded over several processes: set quantize to none, or use one process.",
            setting=SETTING,
        )
    count = 0
    for transformer in find_transformers(model):
        output = transformer.get_output_embeddings()  # type: ignore[no-untyped-call]
        for parent, name, linear in list(_children(transformer, nn.Linear)):
            if linear is not output:
                setattr(parent, name, _quantized(linear, config.precision))
                count += 1
    if not count:
        raise BadInput("This model has no linear layers that can be stored in 4 bits.", setting=SETTING)


def dequantize_base(model: nn.Module) -> None:
    """Put plain float32 matrices in the place of those of 4 bits, one after the other."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    for parent, name, linear in list(_children(model, Linear4bit)):
        weight = dequantize_4bit(linear.weight.data, linear.weight.quant_state).float()
        plain = nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta")
        plain.weight, plain.bias = nn.Parameter(weight, requires_grad=False), linear.bias
        setattr(parent, name, plain)


def _quantized(linear: nn.Linear, precision: str) -> nn.Module:
    from bitsandbytes.nn import Linear4bit, Params4bit

    quantized = Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=False,
        compute_dtype=torch.bfloat16 if precision == "bfloat16" else torch.float32,
        device="meta",
    )
    quantized.weight = Params4bit(
        linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True, module=quantized
    ).to(linear.weight.device)
    quantized.bias = linear.bias
    return quantized


def _children(model: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[nn.Module, str, Any]]:
    """The modules of a class within `model`: the parent of each, its name there, and itself."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, kind):
                yield parent, name, child
