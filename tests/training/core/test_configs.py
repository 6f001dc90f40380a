from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from training.configs import KINDS, ConfigError, RewardConfig, from_dict

SAMPLED = {"sampler": "vllm-lora", "sampler_server": "http://x/v1"}


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_valid_and_survive_a_round_trip(kind: str):
    config = from_dict(kind, {})
    assert from_dict(kind, config.to_dict()) == config


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_can_be_shown_in_a_form(kind: str):
    for item in dataclasses.fields(KINDS[kind]):
        assert item.type in ("int", "float", "bool", "str")
        assert item.metadata["label"]
        assert item.metadata["help"].rstrip().endswith((".", "2."))


@pytest.mark.parametrize(
    ("kind", "values", "field", "words"),
    [
        ("poetry", {}, "kind", "no kind of run"),
        ("dpo", {"betta": 0.1}, "betta", "no such setting"),
        ("dpo", {"beta": "0.1"}, "beta", "must be a number"),
        ("dpo", {"beta": float("nan")}, "beta", "finite"),
        ("dpo", {"beta": 0.0}, "beta", "at least"),
        ("dpo", {"beta": 10**400}, "beta", "finite"),
        ("dpo", {"epochs": 10**400}, "epochs", "at most 1000, not one of hundreds of digits"),
        ("dpo", {"epochs": -(10**400)}, "epochs", "at least 1, not one of hundreds of digits"),
        ("sft", {"lora_targets": "q_proj\0"}, "lora_targets", "a null byte"),
        ("sft", {"lora_targets": "\udc00"}, "lora_targets", "half of a character"),
        ("sft", {"max_tokens": -1}, "max_tokens", "at least"),
        ("sft", {"max_minutes": float("inf")}, "max_minutes", "finite"),
        ("sft", {"lora_rank": 8.0}, "lora_rank", "whole number"),
        ("sft", {"lora_alpha": 0}, "lora_alpha", "at least"),
        ("sft", {"tensorboard": "yes"}, "tensorboard", "true or false"),
        ("dpo", {"epochs": 1.5}, "epochs", "whole number"),
        ("dpo", {"epochs": True}, "epochs", "whole number"),
        ("dpo", {"loss": "hinge"}, "loss", "one of"),
        ("dpo", {"loss": "ipo", "label_smoothing": 0.1}, "label_smoothing", "must be 0 with IPO"),
        ("reward", {"criteria": ["kind"]}, "criteria", "must be text"),
        ("reward", {"criteria": "kind, Very kind"}, "criteria", "holds 'Very kind', which is no key"),
        ("reward", {"criteria": "2kind"}, "criteria", "no key"),
        ("reward", {"criteria": "k" * 41}, "criteria", "no key"),
        ("reward", {"criteria": "kind,true, kind"}, "criteria", "holds kind twice"),
        ("reward", {"criteria": "a,b,c,d,e,f,g,h,i"}, "criteria", "at most 8, not 9"),
        ("reward", {"criteria_weight": 0}, "criteria_weight", "at least 0.001"),
        ("dpo", {"criteria": "kind"}, "criteria", "no such setting"),
        ("pretrain", {"heads": 3}, "heads", "must divide the hidden size"),
        ("pretrain", {"heads": 4, "kv_heads": 3}, "kv_heads", "must divide the number"),
        ("pretrain", {"block_length": 2048}, "block_length", "maximum sequence length"),
        ("generate", {"max_new_tokens": 1024}, "max_new_tokens", "leave room"),
        ("generate", {"temperature": 0.0}, "temperature", "must be above 0 for several"),
        ("grpo", {"sampler": "vllm"}, "sampler", "one of in-process, vllm-lora, sglang-disk"),
        (
            "grpo",
            {"sampler": "vllm-lora", "lora_rank": 8},
            "sampler_server",
            "required by the sampler vllm-lora",
        ),
        ("grpo", {"sampler_server": "http://x/v1"}, "sampler_server", "needs the sampler"),
        ("ppo", SAMPLED | {"sampler_server": "x/v1", "lora_rank": 8}, "sampler_server", "must be a URL"),
        ("ppo", SAMPLED, "lora_rank", "must be above 0"),
        ("ppo", SAMPLED | {"sampler": "sglang-disk", "lora_rank": 8}, "lora_rank", "must be 0"),
        ("grpo", SAMPLED | {"top_p": 0.9}, "top_p", "no such setting"),
        ("online", {"importance_cap": 2.0}, "importance_cap", "no such setting"),
    ],
)
def test_a_bad_setting_is_named(kind: str, values: dict, field: str, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        from_dict(kind, values)
    assert caught.value.field == field


def test_a_server_has_room_of_its_own():
    served = {"server": "http://localhost:8001/v1", "server_model": "m", "max_new_tokens": 2048}
    assert from_dict("generate", served).to_dict()["max_new_tokens"] == 2048


def test_criteria_are_names_separated_by_commas():
    assert RewardConfig(criteria=" kind,true ,").criterion_names == ["kind", "true"]
    assert RewardConfig().criterion_names == []


def test_a_whole_number_will_do_for_a_number():
    assert from_dict("dpo", {"beta": 1}).to_dict()["beta"] == 1.0


def test_configs_need_the_standard_library_only():
    code = (
        "import sys; import training.configs; print(sorted({'torch', 'django', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
