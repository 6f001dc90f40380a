"""A saved reward model is a sequence classifier, which transformers reads alone and scores as this project does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerBase,
)

from tests.peers import needs_trl, run_with_trl
from tests.training.core.conftest import tiny_llama
from tests.training.core.test_architectures import ROWS_ONLY, SUPPORTED
from training.core.batching import rows_layout
from training.core.errors import BadInput
from training.core.model_loading import load_policy, load_trunk, save_policy
from training.core.reward_model import RewardModel, load_reward_model
from training.core.tokenization import EncodedGroup, find_padding_token
from training.core.train_pretrain import train_tokenizer

ROWS = [[1, 50, 60, 70, 2], [1, *range(50, 62), 2], [1, 9, 2]]
NOT_IN_TRANSFORMERS = ("granite", "cohere", "cohere2")
"""Types that have no sequence classifier there."""


def our_scores(model: RewardModel) -> torch.Tensor:
    with torch.no_grad():
        return model(rows_layout([EncodedGroup(row[:2], [row[2:]]) for row in ROWS]))


def their_scores(folder: Path, tokenizer: PreTrainedTokenizerBase, side: str) -> torch.Tensor:
    """The rewards of ROWS in one padded batch, with nothing of ours but the config's `reward_bias`."""
    classifier = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    batch = tokenizer.pad({"input_ids": ROWS}, padding_side=side, return_tensors="pt")
    positions = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)  # those of GPT-2 are absolute
    with torch.no_grad():
        logits = classifier(**batch, position_ids=positions).logits
    return logits[:, 0] - classifier.config.reward_bias


@pytest.mark.parametrize("architecture", [*SUPPORTED, "falcon"])
def test_transformers_gives_the_same_scores(architecture: str, tmp_path: Path, tokenizer) -> None:
    model = RewardModel((SUPPORTED | ROWS_ONLY)[architecture]().base_model, seed=3)
    model.bias += 0.7
    model.save(tokenizer, tmp_path)
    expected = our_scores(model)
    assert torch.equal(our_scores(load_reward_model(str(tmp_path))), expected)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"][0].endswith("ForSequenceClassification")
    assert config["pad_token_id"] == tokenizer.pad_token_id
    assert load_file(tmp_path / "model.safetensors")["score.weight"].shape == (1, 32)
    if architecture in NOT_IN_TRANSFORMERS:
        return
    for side in ("left", "right"):
        assert torch.allclose(their_scores(tmp_path, tokenizer, side), expected, atol=1e-5), side


@pytest.mark.live
@needs_trl
def test_trl_loads_it_for_training_and_gives_the_same_scores(tmp_path: Path, tokenizer) -> None:
    model = RewardModel(tiny_llama().base_model, seed=3)
    model.bias += 0.7
    model.save(tokenizer, tmp_path / "reward")
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    printed = run_with_trl(Path(__file__).with_name("score_with_trl.py"), tmp_path)
    expected = our_scores(model) + model.bias
    for name, logits in json.loads(printed.splitlines()[-1]).items():
        assert torch.allclose(torch.tensor(logits), expected, rtol=0, atol=1e-5), name


def test_the_end_token_never_pads(tmp_path: Path) -> None:
    """Where it is the tokenizer's padding too, the last real token would be taken for padding."""
    tokenizer: Any = train_tokenizer(["the ferry leaves"], 320)
    tokenizer.pad_token = tokenizer.eos_token
    model = RewardModel(tiny_llama().base_model, seed=3)
    model.save(tokenizer, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["pad_token_id"] == tokenizer.bos_token_id
    assert tokenizer.pad_token == tokenizer.bos_token
    assert torch.allclose(their_scores(tmp_path, tokenizer, "right"), our_scores(model), atol=1e-5)
    tokenizer.pad_token = tokenizer.bos_token = tokenizer.eos_token
    assert find_padding_token(tokenizer) is None
    model.save(tokenizer, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["pad_token_id"] is None


def test_a_classifier_of_others_is_a_reward_model(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=320, num_labels=1, pad_token_id=0, **sizes)
    classifier = LlamaForSequenceClassification(config).eval()
    classifier.save_pretrained(tmp_path / "one")
    with torch.no_grad():
        expected = torch.cat([classifier(input_ids=torch.tensor([row])).logits[:, 0] for row in ROWS])
    assert torch.allclose(our_scores(load_reward_model(str(tmp_path / "one"))), expected, atol=1e-5)
    config.num_labels = 3
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "three")
    with pytest.raises(BadInput, match="a reward model has one label"):
        load_reward_model(str(tmp_path / "three"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_models_keep_the_type_of_their_weights(dtype: torch.dtype, tmp_path: Path, tokenizer) -> None:
    tiny_llama().to(dtype).save_pretrained(tmp_path / "model")
    policy: Any = load_policy(str(tmp_path / "model"))
    assert policy.dtype == torch.float32
    save_policy(policy, tokenizer, tmp_path / "policy", instruction="")
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("policy", "model"))
    assert all(ours[name].equal(weight) for name, weight in theirs.items())
    RewardModel(load_trunk(str(tmp_path / "model")), seed=3).save(tokenizer, tmp_path / "reward")
    assert {weight.dtype for weight in load_file(tmp_path / "reward" / "model.safetensors").values()} == {
        dtype
    }
    assert json.loads((tmp_path / "reward" / "config.json").read_text())["dtype"] == str(dtype)[6:]
    expected = our_scores(load_reward_model(str(tmp_path / "reward")))
    assert load_reward_model(str(tmp_path / "reward")).trunk.stored_dtype == dtype
    classifier: Any = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "reward", dtype=torch.float32
    ).eval()
    with torch.no_grad():
        logits = torch.cat([classifier(input_ids=torch.tensor([row])).logits[:, 0] for row in ROWS])
    assert torch.allclose(logits, expected, atol=1e-5)


def test_a_damaged_head_is_named(tmp_path: Path, tokenizer) -> None:
    RewardModel(tiny_llama().base_model, seed=3).save(tokenizer, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(weights | {"score.weight": weights["score.weight"] * torch.nan}, tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match=r"not finite numbers \(NaN or infinite\), in score.weight"):
        load_reward_model(str(tmp_path))
    del weights["score.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match="does not fit its trunk"):
        load_reward_model(str(tmp_path))
