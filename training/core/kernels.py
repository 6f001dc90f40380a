"""Which matrix product a model's linear layers use on a processor: PyTorch's (MKL), or oneDNN's where it is faster.

Both compute the same numbers to rounding. Which is the faster depends on the processor (on some AMD cores oneDNN is
twice as fast, on others and on Intel's there is nothing in it), so it is measured when a run starts and kept in its
checkpoint, as a resumed run must round as it did before.

Left out: bfloat16 and autocast, where PyTorch calls oneDNN by itself; layers that are not `nn.Linear` (GPT-2's);
matrices too small to gain.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

NAMES = TORCH, ONEDNN = "torch", "onednn"

SMALLEST = 64
"""Layers narrower than this on either side stay as they are, and so do passes of fewer rows than `FEWEST_ROWS`."""

FEWEST_ROWS = 16

CLEARLY_FASTER = 1.25
"""How many times as fast oneDNN must be to be chosen: noise must not decide it."""


def choose(model: nn.Module, kept: str | None = None) -> str:
    """Have `model`'s linear layers use the faster product, or the one `kept` from before. Returns which it is."""
    layers = [module for module in model.modules() if _gains(module)]
    choice = (kept or (ONEDNN if _measure() > CLEARLY_FASTER else TORCH)) if layers and available() else TORCH
    for layer in layers:
        layer.__class__ = OneDNNLinear if choice == ONEDNN else nn.Linear
    return choice


def available() -> bool:
    """Whether this PyTorch has oneDNN's linear, an operator that it does not promise to keep."""
    return bool(torch._C._has_mkldnn) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _gains(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return (
        type(module) in (nn.Linear, OneDNNLinear)
        and isinstance(weight, Tensor)
        and weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and min(weight.shape) >= SMALLEST
    )


class OneDNNLinear(nn.Linear):
    """`nn.Linear` through oneDNN, out of autocast and in float32; else as it was."""

    def forward(self, input: Tensor) -> Tensor:
        fits = input.dtype == torch.float32 and input.numel() >= FEWEST_ROWS * self.in_features
        if not fits or torch.is_autocast_enabled("cpu"):
            return linear(input, self.weight, self.bias)
        output: Tensor = _Product.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return output


class _Product(torch.autograd.Function):
    """(..., out) from (..., in), the (out, in) weight and perhaps a bias."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = input.reshape(-1, input.shape[-1])
        ctx.save_for_backward(rows if ctx.needs_input_grad[1] else None, weight)
        return _product(rows, weight, bias).view(*input.shape[:-1], weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        of_rows = grad.reshape(-1, grad.shape[-1])
        to_input, to_weight, to_bias = ctx.needs_input_grad
        return (
            _product(of_rows, weight.t()).view(*grad.shape[:-1], weight.shape[1]) if to_input else None,
            _product(of_rows.t(), rows.t()) if to_weight else None,
            of_rows.sum(0) if to_bias else None,
        )


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return product


@cache
def _measure() -> float:
    """How many times as fast oneDNN does a layer's three products, forward and backward, as PyTorch; once a process.

    The two take turns on one thread, and the best of each counts, in processor time, so that neighbours on the same
    cores do not decide it.
    """
    random = torch.Generator().manual_seed(0)
    rows, weight, grad = (torch.randn(384, 384, generator=random) for _ in range(3))

    def time_of(product: Callable[[Tensor, Tensor], Tensor]) -> float:
        started = time.process_time()
        product(rows, weight)
        product(grad, weight.t())
        product(grad.t(), rows.t())
        return time.process_time() - started

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        times = [(time_of(linear), time_of(_product)) for _ in range(10)]
    torch.set_num_threads(threads)
    return min(ours for ours, _ in times) / min(theirs for _, theirs in times)
