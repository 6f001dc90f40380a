"""Frozen models take half the memory in bfloat16, and give the numbers that they gave in float32 under autocast."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.core import tastes
from tests.training.core.conftest import ARCHITECTURES
from training.core import train_grpo
from training.core.batching import shared_layout
from training.core.logprobs import token_logprobs
from training.core.model_loading import autocast, freeze
from training.core.tokenization import EncodedGroup

GROUPS = [EncodedGroup([5, 9, 17, 3], [[7, 7, 12, 2], [30, 4, 2]]), EncodedGroup([8, 21], [[13, 14, 2]])]


def size(model: Any) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2", "gemma"])
def test_a_frozen_model_gives_the_same_numbers_from_less_memory(architecture: str):
    model = ARCHITECTURES[architecture]()
    frozen = freeze(copy.deepcopy(model), "bfloat16")
    with torch.no_grad(), autocast("bfloat16"):
        found, expected = (token_logprobs(one, shared_layout(GROUPS)) for one in (frozen, model))
    assert torch.equal(found, expected)
    embeddings = sum(one.weight.nbytes for one in model.modules() if isinstance(one, torch.nn.Embedding))
    assert size(frozen) - embeddings < 0.55 * (size(model) - embeddings)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_in_float32_nothing_is_rounded():
    model = ARCHITECTURES["llama"]()
    before = [parameter.clone() for parameter in model.parameters()]
    frozen = freeze(model, "float32")
    assert all(torch.equal(a, b) for a, b in zip(frozen.parameters(), before, strict=True))


def test_a_run_in_bfloat16_starts_at_its_reference_and_rounds_frozen_models(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    setups = []
    load = train_grpo.load_setup
    monkeypatch.setattr(
        train_grpo, "load_setup", lambda *args, **more: setups.append(load(*args, **more)) or setups[-1]
    )
    config = {"batch_size": 4, "samples": 2, "max_new_tokens": 4, "max_steps": 1, "precision": "bfloat16"}
    result, _ = tastes.here(tastes.job(tmp_path, "grpo", models, tastes.prompts(8), config))
    assert result["metrics"]["kl"] == 0.0, "to the bit"
    [setup] = setups
    frozen = (setup.reference.model, setup.rewards.scorers[0].model.trunk)
    assert {one.layers[0].mlp.up_proj.weight.dtype for one in frozen} == {torch.bfloat16}
    assert setup.policy.model.layers[0].mlp.up_proj.weight.dtype == torch.float32
