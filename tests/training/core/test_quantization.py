"""QLoRA: a frozen base of 4 bits. The tests with bitsandbytes are skipped where it is not installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM

from tests.training.core import tastes
from tests.training.core.conftest import tiny_gpt2, tiny_llama
from tests.training.core.test_lora import GROUPS, Interrupted, saved, train
from training.configs import ConfigError, DPOConfig, PretrainConfig, RewardConfig, SFTConfig
from training.core import lora, quantization
from training.core.batching import Passes, rows_layout, shared_layout
from training.core.errors import BadInput, Stopped
from training.core.logprobs import response_logprobs
from training.core.model_loading import load_policy

__all__ = ["saved"]
HERE = find_spec("bitsandbytes") is not None
needs_bitsandbytes = pytest.mark.skipif(not HERE, reason="bitsandbytes is not installed (the extra qlora)")


def matrices(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


@pytest.mark.parametrize("config", [SFTConfig, DPOConfig, RewardConfig, PretrainConfig])
def test_it_needs_lora(config: type[Any]):
    with pytest.raises(ConfigError, match="needs LoRA") as caught:
        config(quantize="nf4").validate()
    assert caught.value.field == "quantize"


@pytest.mark.skipif(HERE, reason="bitsandbytes is installed")
def test_without_the_library_it_is_refused(saved: Path, tmp_path: Path):
    with pytest.raises(BadInput, match="need bitsandbytes") as caught:
        train(tmp_path / "run", "sft", saved, Interrupted(-1), quantize="nf4")
    assert caught.value.setting == "quantize"
    assert not (tmp_path / "run" / "output").exists()


@needs_bitsandbytes
class TestWithTheLibrary:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_the_matrices_of_the_layers_have_4_bits_and_come_back_as_computed_with(self, precision: str):
        model = tiny_llama()
        before = {name: module.weight.detach().clone() for name, module in matrices(model).items()}
        quantization.quantize_base(model, SFTConfig(lora_rank=4, quantize="nf4", precision=precision))
        for name, module in matrices(model).items():
            if name == "lm_head":
                assert torch.equal(module.weight, before[name])
                continue
            assert module.weight.dtype == torch.uint8
            assert module.weight.numel() == before[name].numel() // 2
            state = module.weight.quant_state
            assert (state.quant_type, state.nested, state.dtype) == ("nf4", True, torch.float32)
        frozen = response_logprobs(model, shared_layout(GROUPS))
        quantization.dequantize_base(model)
        assert {name: type(module) for name, module in matrices(model).items()} == dict.fromkeys(
            before, nn.Linear
        )
        tolerance = 1e-4 if precision == "float32" else 5e-2
        assert torch.allclose(response_logprobs(model, shared_layout(GROUPS)), frozen, atol=tolerance)
        changes = [
            float((module.weight - before[name]).norm() / before[name].norm())
            for name, module in matrices(model).items()
            if name != "lm_head"
        ]
        assert min(changes) > 0.01, "they are rounded"
        assert max(changes) < 0.12, "of normally distributed weights, NF4 loses about a tenth"

    def test_both_layouts_agree_and_the_adapters_take_part(self):
        model = tiny_llama()
        config = SFTConfig(lora_rank=4, quantize="nf4")
        quantization.quantize_base(model, config)
        lora.add_adapters(model, config)
        learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert len(learned) == 28
        assert all("lora_" in name for name in learned)
        Passes(model.base_model, "shared", 512, 64)
        before = response_logprobs(model, shared_layout(GROUPS))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.1)
        together, alone = (
            response_logprobs(model, layout(GROUPS)) for layout in (shared_layout, rows_layout)
        )
        assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(together, before, atol=1e-2)
        quantization.dequantize_base(model)
        lora.merge_adapters(model)
        assert torch.allclose(response_logprobs(model, shared_layout(GROUPS)), together, rtol=1e-4, atol=1e-3)

    @pytest.mark.parametrize("kind", ["sft", "reward", "dpo"])
    def test_a_run_that_was_stopped_ends_with_the_same_plain_model(
        self, kind: str, saved: Path, tmp_path: Path
    ):
        whole = train(tmp_path / "whole", kind, saved, Interrupted(-1), quantize="nf4")
        with pytest.raises(Stopped):
            train(tmp_path / "halves", kind, saved, Interrupted(2), quantize="nf4")
        halves = train(tmp_path / "halves", kind, saved, Interrupted(-1), quantize="nf4")
        first, second = (load_file(at / "model.safetensors") for at in (whole, halves))
        full = load_file(train(tmp_path / "full", kind, saved, Interrupted(-1)) / "model.safetensors")
        assert {name: value.shape for name, value in first.items()} == {
            name: value.shape for name, value in full.items()
        }
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert (whole / "adapter" / "adapter_model.safetensors").is_file()
        assert "quantization_config" not in (whole / "config.json").read_text()

    def test_the_model_is_written_in_the_type_of_the_base(self, saved: Path, tmp_path: Path):
        AutoModelForCausalLM.from_pretrained(saved, dtype=torch.bfloat16).save_pretrained(saved)
        output = train(tmp_path / "run", "sft", saved, Interrupted(-1), quantize="nf4")
        assert {value.dtype for value in load_file(output / "model.safetensors").values()} == {torch.bfloat16}
        load_policy(str(output))

    def test_a_run_that_samples_learns_beside_its_base_as_the_reference(self, models: Path, tmp_path: Path):
        config = {
            "lora_rank": 2,
            "quantize": "nf4",
            "batch_size": 4,
            "samples": 2,
            "max_new_tokens": 4,
            "max_steps": 2,
        }
        _, events = tastes.here(tastes.job(tmp_path / "run", "grpo", models, tastes.prompts(10), config))
        assert tastes.values(events, "kl")[0] == pytest.approx(0.0, abs=1e-6)

    def test_a_model_without_linear_layers_is_refused(self):
        with pytest.raises(BadInput) as caught:
            quantization.quantize_base(tiny_gpt2().transformer, SFTConfig(lora_rank=4, quantize="nf4"))
        assert caught.value.setting == "quantize"


def test_the_core_starts_without_the_library():
    """It is imported only where it is asked for."""
    code = "import sys, training.core.training_loop; print('bitsandbytes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
