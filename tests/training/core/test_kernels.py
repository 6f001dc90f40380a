"""oneDNN's matrix product in linear layers: the same numbers as PyTorch's, and only where it was measured to be faster."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import LlamaConfig, LlamaForCausalLM

from tests.training.core.conftest import sharp
from training.core import kernels
from training.core.encoding import Group
from training.core.kernels import ONEDNN, TORCH, OneDNNLinear, choose
from training.core.scoring import response_logprobs, shared

pytestmark = pytest.mark.skipif(not kernels.available(), reason="this PyTorch has no oneDNN linear")
GROUPS = [
    Group([5, 9, 17, 3], [[7, 7, 12, 2], [30, 4, 2], [11] * 9 + [2]]),
    Group([8, 21], [[13, 14, 2], [15, 3]]),
]


def wide_llama(tied: bool = True) -> Any:
    return sharp(
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=320,
                hidden_size=64,
                intermediate_size=96,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=128,
                tie_word_embeddings=tied,
            )
        )
    )


def close(found: Tensor, expected: Tensor) -> bool:
    """Within a few roundings of the largest number that went into the sums."""
    return float((found - expected).detach().abs().max()) <= 2e-6 * max(
        1.0, float(expected.detach().abs().max())
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(40, 64), (3, 17, 64), (2, 3, 64)])
def test_values_and_gradients_are_those_of_pytorchs_linear(bias: bool, shape: tuple[int, ...]):
    torch.manual_seed(0)
    layer = nn.Linear(64, 80, bias=bias)
    fast = copy.deepcopy(layer)
    assert choose(fast, ONEDNN) == ONEDNN
    theirs = torch.randn(shape, requires_grad=True)
    ours = theirs.detach().clone().requires_grad_()
    weights = torch.randn(*shape[:-1], 80)
    expected, found = linear(theirs, layer.weight, layer.bias), fast(ours)
    assert close(found, expected)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert close(ours.grad, theirs.grad)
    for mine, other in zip(fast.parameters(), layer.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        assert close(mine.grad, other.grad)


def test_inputs_and_gradients_that_lie_across_memory_are_read_right():
    torch.manual_seed(1)
    fast = nn.Linear(64, 80)
    choose(fast, ONEDNN)
    across = torch.randn(64, 5, 40).transpose(0, 2).requires_grad_()
    found = fast(across)
    weights = torch.randn(80, 5, 40).transpose(0, 2)
    (found * weights).sum().backward()
    expected = linear(across, fast.weight, fast.bias)
    assert close(found, expected)
    [gradient] = torch.autograd.grad((expected * weights).sum(), across)
    assert across.grad is not None
    assert close(across.grad, gradient)


@pytest.mark.parametrize("tied", [True, False], ids=["tied output", "output of its own"])
def test_a_whole_model_has_the_same_gradients(tied: bool):
    plain = wide_llama(tied)
    fast = copy.deepcopy(plain)
    assert choose(fast, ONEDNN) == ONEDNN
    assert type(fast.lm_head) is OneDNNLinear
    assert (fast.lm_head.weight is fast.model.embed_tokens.weight) == tied
    for model in (plain, fast):
        response_logprobs(model, shared(GROUPS)).sum().backward()
    for (name, ours), theirs in zip(fast.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(
            ours.grad, theirs.grad, rtol=1e-4, atol=1e-4 * float(theirs.grad.abs().max())
        ), name


def test_frozen_weights_get_no_gradient():
    layer = nn.Linear(64, 64)
    choose(layer, ONEDNN)
    layer.weight.requires_grad_(False)
    rows = torch.randn(20, 64, requires_grad=True)
    layer(rows).sum().backward()
    assert layer.weight.grad is None
    assert rows.grad is not None


def test_autocast_few_rows_and_other_numbers_are_left_to_pytorch():
    layer = nn.Linear(64, 64)
    choose(layer, ONEDNN)
    few = torch.randn(3, 64)
    assert torch.equal(layer(few), linear(few, layer.weight, layer.bias))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(40, 64)).dtype == torch.bfloat16
    wide = nn.Linear(64, 64).double()
    assert choose(wide, ONEDNN) == TORCH
    assert type(wide) is nn.Linear


def test_the_measurement_decides_and_what_was_kept_is_kept(monkeypatch: pytest.MonkeyPatch):
    layer = nn.Linear(64, 64)
    for ratio, choice in ((2.0, ONEDNN), (1.05, TORCH), (0.6, TORCH)):
        monkeypatch.setattr(kernels, "_measure", lambda ratio=ratio: ratio)
        assert choose(layer) == choice
        assert type(layer) is (OneDNNLinear if choice == ONEDNN else nn.Linear)
    monkeypatch.setattr(kernels, "_measure", lambda: pytest.fail("what was kept needs no measurement"))
    assert choose(layer, ONEDNN) == ONEDNN
    assert choose(layer, TORCH) == TORCH


def test_a_pytorch_without_the_operator_and_small_models_stay_as_they_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "_measure", lambda: pytest.fail("there is nothing to measure"))
    assert choose(nn.Linear(32, 400)) == TORCH
    monkeypatch.setattr(kernels, "available", lambda: False)
    assert choose(nn.Linear(64, 64), ONEDNN) == TORCH


def test_the_measurement_is_of_a_sensible_size():
    assert 0.1 < kernels._measure() < 10
