"""What a step ought to take: the floating-point operations and the bytes of a Llama-type decoder, and the peak rates of GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.workloads import Shape
from training.core.tokenization import EncodedGroup

PEAK_FLOPS = {
    "B200": 2250e12,
    "GH200": 989e12,
    "H200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""FLOP/s of bfloat16 products that are summed in float32, without sparsity, from NVIDIA's data sheets; by a part of the device's
name, the first that fits."""


def peak_flops(device_name: str) -> float | None:
    """FLOP/s that a device can reach in bfloat16; None if it is not in the table."""
    words = f"{device_name.replace('-', ' ')} "
    return next((peak for name, peak in PEAK_FLOPS.items() if f"{name} " in words), None)


class Work(NamedTuple):
    """tokens: through the layers. projected: of those, through the vocabulary's projection. visible: pairs of a token and one
    that it attends to."""

    tokens: int
    projected: int
    visible: int


def work_of(groups: Sequence[EncodedGroup], *, policy: bool) -> Work:
    """The work of reading every prompt and every response once. policy: whether response tokens are predicted."""
    tokens = responses = visible = 0
    for prompt, own in groups:
        lengths = [len(response) for response in own]
        tokens += len(prompt) + sum(lengths)
        responses += sum(lengths)
        visible += len(prompt) * (len(prompt) + 1) // 2
        visible += sum(length * len(prompt) + length * (length + 1) // 2 for length in lengths)
    return Work(tokens, responses if policy else 0, visible)


def layer_weights(shape: Shape) -> int:
    """Weights of the matrices of one layer."""
    key_value_width = (shape.kv_heads or shape.heads) * shape.hidden // shape.heads
    return shape.hidden * (2 * shape.hidden + 2 * key_value_width + 3 * shape.inner)


def parameters(shape: Shape, *, policy: bool) -> int:
    """Parameters of a policy, a tied projection counted once, or of a reward model."""
    embedding = shape.vocabulary * shape.hidden
    projection = (0 if shape.tied else embedding) if policy else shape.hidden
    return embedding + projection + shape.layers * (layer_weights(shape) + 2 * shape.hidden) + shape.hidden


def forward_flops(shape: Shape, work: Work) -> float:
    """Model FLOPs of a forward pass; training takes three times as many, as the backward pass has two products for each.

    Chowdhery et al. 2022 (PaLM), appendix B: 2 for each weight and token, and 4 a layer for each unit of the attention's width
    and each pair of tokens (2 for the scores, 2 for the values). Stricter than there, weights are those of matrices only, the
    vocabulary's projection counts where tokens are predicted, and of the pairs only those that the mask shows. What is computed
    twice or for padding does not count: these are the model's FLOPs, not the hardware's.
    """
    products = shape.layers * layer_weights(shape) * work.tokens
    products += shape.vocabulary * shape.hidden * work.projected
    return 2.0 * products + 4.0 * shape.layers * shape.hidden * work.visible


def activation_bytes(shape: Shape, tokens: int, *, attention: int = 2) -> int:
    """Bytes that autograd stores of a pass in bfloat16 through the layers. attention: bytes of a number in the attention, which
    is computed in float32 on a processor.

    Of a token and layer, with the hidden size h and the inner size i: two residuals in float32 and what the norms make of them
    (16h); the inputs of the projections, a copy for each (10h for q, k, v, gate and up; 2h for o); q, k, v, the attention's
    output and its log-sum-exps (4 a head); the gate before and after SiLU, up, and down's input (8i). The last norm stores 8h.
    """
    key_value_width = (shape.kv_heads or shape.heads) * shape.hidden // shape.heads
    of_attention = attention * 2 * (shape.hidden + key_value_width) + 4 * shape.heads
    of_layer = 28 * shape.hidden + of_attention + 8 * shape.inner
    return tokens * (shape.layers * of_layer + 8 * shape.hidden)


def training_bytes(shape: Shape, tokens: int) -> int:
    """Peak memory of a reward step of several passes of `tokens` tokens each, in bfloat16.

    Weights, gradients and AdamW's two moments in float32 (16 a parameter), the matrices rounded to bfloat16 for a pass (2), a
    pass's activations, and its gradient of the embedding before it is added to that of the passes before (4).
    """
    state = 16 * parameters(shape, policy=False)
    rounded = 2 * shape.layers * layer_weights(shape)
    return state + rounded + activation_bytes(shape, tokens) + 4 * shape.vocabulary * shape.hidden
