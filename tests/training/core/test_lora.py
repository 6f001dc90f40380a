"""LoRA: only the adapters are learned and kept, and what is written is a model like any other."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM

from tests.training.core import tastes
from tests.training.core.conftest import ARCHITECTURES, judgments, tiny_llama, write_job
from tests.training.core.in_process import stored
from training.configs import DPOConfig, RewardConfig, SFTConfig, TrainingConfig
from training.core import divergence, lora
from training.core.__main__ import run
from training.core.batching import Passes, rows_layout, shared_layout
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.job_directory import read_job
from training.core.logprobs import response_logprobs
from training.core.model_loading import load_policy
from training.core.reward_model import RewardModel
from training.core.sampling import sample_responses
from training.core.tokenization import EncodedGroup

GROUPS = [EncodedGroup([5, 9, 17, 3], [[7, 7, 12, 2], [30, 4, 2]]), EncodedGroup([8, 21], [[13, 14, 2]])]
ATTENTION = "q_proj, v_proj"


def adapted(architecture: str = "llama", **config: Any) -> Any:
    """A small model with adapters that are not zero any more."""
    model = ARCHITECTURES[architecture]()
    lora.add_adapters(model, SFTConfig(lora_rank=4, **config))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
def test_the_model_stays_the_same_object_and_its_trunk_works_in_both_layouts(architecture: str):
    model = ARCHITECTURES[architecture]()
    trunk, before = model.base_model, response_logprobs(model, shared_layout(GROUPS))
    lora.add_adapters(model, SFTConfig(lora_rank=4))
    assert model.base_model is trunk
    assert torch.allclose(response_logprobs(model, shared_layout(GROUPS)), before, atol=1e-5), (
        "B starts at zero"
    )
    model = adapted(architecture)
    Passes(model.base_model, "shared", 512, 64)
    together, alone = (response_logprobs(model, layout(GROUPS)) for layout in (shared_layout, rows_layout))
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together, before, atol=1e-2), "the adapters take part"


def test_the_correction_is_alpha_over_rank_times_b_a():
    model = adapted(lora_alpha=6.0)
    layer = model.base_model.layers[0].self_attn.q_proj
    expected = layer.base_layer.weight + 6.0 / 4 * layer.lora_B.default.weight @ layer.lora_A.default.weight
    lora.merge_adapters(model)
    merged = model.base_model.layers[0].self_attn.q_proj
    assert type(merged) is torch.nn.Linear
    assert torch.allclose(merged.weight, expected, atol=1e-6)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
def test_the_merged_model_says_what_the_adapted_one_did_and_is_plain(architecture: str):
    model, plain = adapted(architecture), ARCHITECTURES[architecture]()
    before = response_logprobs(model, shared_layout(GROUPS))
    lora.merge_adapters(model)
    assert torch.allclose(response_logprobs(model, shared_layout(GROUPS)), before, rtol=1e-4, atol=1e-4)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert {name: type(module) for name, module in model.named_modules()} == {
        name: type(module) for name, module in plain.named_modules()
    }
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("targets", "corrected"),
    [("all-linear", 14), (ATTENTION, 4), ("q_proj,v_proj,lm_head", 5)],
)
def test_the_targets_are_those_named_and_the_output_projection_only_by_name(targets: str, corrected: int):
    model = adapted(lora_targets=targets)
    learned = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(learned) == 2 * corrected
    assert all("lora_" in name for name in learned)


@pytest.mark.parametrize("targets", ["no_such_projection", " , "])
def test_targets_that_are_not_there_are_refused(targets: str):
    with pytest.raises(BadInput) as caught:
        lora.add_adapters(tiny_llama(), SFTConfig(lora_rank=4, lora_targets=targets))
    assert caught.value.setting == "lora_targets"


def test_a_reward_models_head_is_learned_whole():
    model = RewardModel(tiny_llama().model)
    lora.add_adapters(model, RewardConfig(lora_rank=2))
    learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "weight" in learned
    assert all("lora_" in name for name in learned - {"weight"})


def test_an_adapted_policy_can_be_sampled_from():
    model = adapted()
    merged = copy.deepcopy(model)
    lora.merge_adapters(merged)
    first, second = (
        sample_responses(
            one, [[5, 9, 17]], [1, 2], samples=2, max_new_tokens=6, temperature=1.0, end_ids=[2], events=None
        )
        for one in (model, merged)
    )
    assert [one.token_ids for one in first] == [one.token_ids for one in second]


class Interrupted(Events):
    """Events of a run that is asked to stop at a step, or while it scores at the end."""

    def __init__(self, step: int, after_it: bool = False) -> None:
        super().__init__(Path("/dev/null").open("w"))  # noqa: SIM115
        self.step, self.after_it = step, after_it

    def progress(self, step: int, total: int, expected_end: float | None = None) -> None:
        self.reached = step
        self.stop_requested = step == self.step and not self.after_it

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        if self.after_it and step == self.step:
            self.stop_requested = True


KINDS = ("sft", "reward", "dpo")
CONVERSATIONS = [
    {"messages": [*row["prompt"], {"role": "assistant", "content": row["responses"][0]}]}
    for row in judgments(12)
]


def train(folder: Path, kind: str, model: Path, events: Events, **config: Any) -> Path:
    settings = {"batch_size": 4, "max_steps": 4, "max_length": 100, "learning_rate": 1e-2, "lora_rank": 2}
    data = CONVERSATIONS if kind == "sft" else judgments(16)
    write_job(folder, kind, data, model=str(model), config=settings | config)
    run(read_job(folder), events)
    return folder / "output"


@pytest.fixture
def saved(tmp_path: Path, tokenizer) -> Path:
    tiny_llama(len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("kind", "after_it"),
    [("sft", False), ("reward", False), ("dpo", False), ("reward", True), ("dpo", True)],
    ids=lambda value: {False: "while it learns", True: "while it scores"}.get(value, value),
)
def test_a_run_that_was_stopped_ends_with_the_same_plain_model(
    kind: str, after_it: bool, saved: Path, tmp_path: Path
):
    whole = train(tmp_path / "whole", kind, saved, Interrupted(-1))
    with pytest.raises(Stopped):
        train(tmp_path / "halves", kind, saved, Interrupted(4 if after_it else 2, after_it))
    kept = stored(tmp_path / "halves", "model")
    assert {name.split(".")[-3] for name in kept if "lora" in name} == {"lora_A", "lora_B"}
    assert {name for name in kept if "lora" not in name} == (
        {"weight", "bias"} if kind == "reward" else set()
    )
    halves = train(tmp_path / "halves", kind, saved, Interrupted(-1))

    first, second, start = (load_file(at / "model.safetensors") for at in (whole, halves, saved))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    changed = {name for name in first if "q_proj" in name and not torch.equal(first[name], _of(start, name))}
    assert len(changed) == 2
    assert all(
        torch.equal(first[name], _of(start, name)) for name in first if "norm" in name or "embed" in name
    )
    assert not any("lora" in name for name in first)
    assert "peft" not in json.dumps(json.loads((whole / "config.json").read_text()))
    if kind != "reward":
        load_policy(str(whole))


@pytest.mark.parametrize("targets", ["all-linear", "q_proj, lm_head"])
def test_the_reference_of_an_adapted_policy_is_the_policy_without_adapters(
    targets: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The run takes the same steps, to the bit, as with a copy of the model; and loads none."""
    loaded: list[str] = []
    load = divergence.load_policy
    monkeypatch.setattr(divergence, "load_policy", lambda *args: loaded.append(args[0]) or load(*args))
    shutil.copytree(models / "policy", tmp_path / "copy")
    config = {"lora_rank": 2, "lora_targets": targets, "batch_size": 4, "samples": 2, "max_new_tokens": 4}
    config |= {"max_steps": 3, "evaluate_every": 1}
    found = []
    for name, more in (("with", {"reference": str(tmp_path / "copy")}), ("without", {})):
        job = tastes.job(tmp_path / name, "grpo", models, tastes.prompts(10), config, **more)
        _, events = tastes.here(job)
        found.append([tastes.values(events, key) for key in ("loss", "kl", "held_out_kl", "grad_norm")])
    assert found[0] == found[1]
    assert found[1][1][0] == 0.0
    assert found[1][1][-1] != 0.0, "the adapters take part in the policy"
    assert loaded == [str(tmp_path / "copy")]


@pytest.mark.parametrize("kind", ["sft", "reward"])
def test_the_adapter_is_written_as_peft_reads_it(kind: str, saved: Path, tmp_path: Path):
    output = train(tmp_path / "run", kind, saved, Interrupted(-1))
    auto = AutoModel if kind == "reward" else AutoModelForCausalLM
    base, merged = (auto.from_pretrained(at).eval() for at in (saved, output))
    adapted = PeftModel.from_pretrained(base, output / "adapter").eval()
    assert adapted.peft_config["default"].base_model_name_or_path == str(saved)
    ids = torch.tensor([[5, 9, 17, 3, 7, 12]])
    with torch.no_grad():
        plain, found, expected = (
            one(input_ids=ids)[0] for one in (auto.from_pretrained(saved), adapted, merged)
        )
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(plain, expected, atol=1e-2), "the adapter takes part"
    assert not list(train(tmp_path / "full", kind, saved, Interrupted(-1), lora_rank=0).glob("adapter"))


def _of(policy: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    return policy[name] if name in policy else policy[f"model.{name}"]


def test_settings_reach_every_kind_that_learns():
    for config in (SFTConfig, RewardConfig, DPOConfig):
        assert issubclass(config, TrainingConfig)
        assert config().lora_rank == 0


def test_nothing_is_trained_from_scratch_with_adapters(tmp_path: Path):
    write_job(tmp_path, "pretrain", [{"text": "the ferry leaves at nine."}] * 20, config={"lora_rank": 2})
    with pytest.raises(BadInput) as caught:
        run(read_job(tmp_path), Interrupted(-1))
    assert caught.value.setting == "lora_rank"


def test_a_matrix_that_both_reads_and_writes_is_left_alone():
    model = tiny_llama()
    model.lm_head.weight = model.model.embed_tokens.weight
    for targets in ("q_proj,lm_head", "embed_tokens"):
        with pytest.raises(BadInput, match="are one matrix") as caught:
            lora.add_adapters(copy.deepcopy(model), SFTConfig(lora_rank=4, lora_targets=targets))
        assert caught.value.setting == "lora_targets"
    lora.add_adapters(model, SFTConfig(lora_rank=4))
    lora.add_adapters(tiny_llama(), SFTConfig(lora_rank=4, lora_targets="lm_head"))
