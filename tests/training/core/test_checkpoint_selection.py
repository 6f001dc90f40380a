"""Which weights a run keeps: by the second reward model, within the KL budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BloomConfig, BloomForCausalLM, LlamaForCausalLM

from tests.training.core import tastes
from tests.training.core.conftest import write_job
from training.core.errors import BadInput, Stopped

EVALUATED = {
    "batch_size": 4,
    "samples": 4,
    "epochs": 10,
    "evaluate_every": 0.1,
    "patience": 3,
    "missing_end_penalty": 0.0,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> Path:
    """A policy, a reward model, and another one of the opposite taste."""
    folder = tmp_path_factory.mktemp("models")
    tastes.save_models(folder, tokenizer)
    (folder / "opposite").mkdir()
    tastes.reward_model(sign=-1.0).save(tokenizer, folder / "opposite")
    return folder


def grpo(folder: Path, models: Path, second: str | None, **config: Any) -> tuple[dict[str, Any], list]:
    more = {"second_reward_model": str(models / second)} if second else {}
    return tastes.here(tastes.job(folder, "grpo", models, tastes.prompts(15), EVALUATED | config, **more))


def is_unchanged(folder: Path, models: Path) -> bool:
    ours, first = (load_file(at / "model.safetensors") for at in (folder / "output", models / "policy"))
    return all(ours[name].equal(first[name]) for name in first)


def test_weights_with_a_lower_second_reward_are_not_saved(models: Path, tmp_path: Path):
    result, events = grpo(tmp_path, models, "opposite")
    first, second = (tastes.values(events, f"held_out_{name}reward") for name in ("", "second_"))
    assert first == pytest.approx([-value for value in second], abs=1e-6)
    assert first[-1] > first[0] + 0.02, "by its own reward model the policy gets better"
    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert "the second reward on held-out prompts did not rise in 3 evaluations" in warning
    # by chance an early evaluation may be a little above the start
    assert is_unchanged(tmp_path, models) == (max(second) == second[0])
    assert second[-1] < max(second)
    assert result["metrics"]["held_out_second_reward"] == pytest.approx(max(second), abs=1e-4)


def test_weights_with_the_highest_second_reward_are_saved(models: Path, tmp_path: Path):
    result, events = grpo(tmp_path, models, "taste")
    second = tastes.values(events, "held_out_second_reward")
    assert not is_unchanged(tmp_path, models)
    assert result["metrics"]["held_out_second_reward"] == pytest.approx(max(second), abs=1e-4)


def test_weights_beyond_the_kl_budget_are_not_saved(models: Path, tmp_path: Path):
    _, events = grpo(tmp_path / "free", models, None, beta=0.0)
    assert not tastes.values(events, "held_out_kl")
    result, events = grpo(tmp_path / "bound", models, None, beta=0.0, max_kl=0.05)
    kl = tastes.values(events, "held_out_kl")
    assert kl[0] == pytest.approx(0, abs=1e-4), "the policy starts as the reference"
    assert max(kl) > 0.05
    assert result["metrics"]["held_out_kl"] <= 0.05
    assert not is_unchanged(tmp_path / "free", models)


def test_a_run_goes_on_while_no_weights_are_within_the_budget(models: Path, tmp_path: Path):
    """Its start is beyond it already, as where the reference is the first policy."""
    away = LlamaForCausalLM.from_pretrained(models / "policy")
    with torch.no_grad():
        away.lm_head.weight += 0.5 * torch.randn_like(away.lm_head.weight)
    away.save_pretrained(tmp_path / "away")
    AutoTokenizer.from_pretrained(models / "policy").save_pretrained(tmp_path / "away")
    config = EVALUATED | {"epochs": 2, "beta": 0.0, "max_kl": 0.01, "patience": 1}
    job = tastes.job(
        tmp_path / "job",
        "grpo",
        models,
        tastes.prompts(15),
        config,
        model=str(tmp_path / "away"),
        reference=str(models / "policy"),
    )
    result, events = tastes.here(job)
    assert min(tastes.values(events, "held_out_kl")) > 0.01
    *_, warning = [event["message"] for event in events if event["event"] == "warning"]
    assert (
        "At no evaluation were the weights within 0.01 nats of the reference: the last are kept." in warning
    )
    assert "best_step" not in result["metrics"]
    ours, start = (load_file(at / "model.safetensors") for at in (job / "output", tmp_path / "away"))
    assert not all(ours[name].equal(start[name]) for name in start), "it was trained to the end"


def rankings(count: int) -> list[dict[str, Any]]:
    """Responses of liked and of other tokens; the first is preferred."""
    prompts = tastes.prompts(count)
    return [row | {"responses": ["the ferry at nine.", "no, thank you."], "ranks": [1, 2]} for row in prompts]


def dpo(folder: Path, models: Path, rows: list[dict[str, Any]], **more: Any) -> Path:
    values = {"model": str(models / "policy"), "reward_model": str(models / "taste")} | more
    return write_job(folder, "dpo", rows, config=DPO, **values)


DPO = {
    "learning_rate": 1e-2,
    "log_every": 1,
    "warmup_min_steps": 0,
    "batch_size": 4,
    "epochs": 4,
    "evaluate_every": 0.25,
    "patience": 2,
    "max_kl": 5.0,
    "max_length": 100,
    "checkpoint_every": 1,
}


def test_dpo_keeps_what_the_second_reward_model_prefers(models: Path, tmp_path: Path):
    job = dpo(tmp_path, models, rankings(20), second_reward_model=str(models / "opposite"), reward_model=None)
    result, events = tastes.here(job)
    second, kl = (tastes.values(events, f"held_out_{name}") for name in ("second_reward", "kl"))
    assert not tastes.values(events, "held_out_reward")
    assert kl[0] == pytest.approx(0, abs=1e-4)
    assert kl[1] > 0
    place = max(range(len(second)), key=lambda number: second[number])
    assert result["metrics"]["held_out_second_reward"] == pytest.approx(second[place], abs=1e-4)
    assert result["metrics"]["held_out_kl"] <= 5.0
    assert (result["metrics"]["best_step"] == 0) == is_unchanged(tmp_path, models)


def test_a_stopped_run_of_dpo_ends_with_the_same_weights(models: Path, tmp_path: Path):
    whole = dpo(tmp_path / "whole", models, rankings(20))
    counter = tastes.Interrupted(10**9)
    expected, _ = tastes.here(whole, counter)
    stopped = dpo(tmp_path / "stopped", models, rankings(20))
    stops = 0
    while True:
        try:
            result, _ = tastes.here(stopped, tastes.Interrupted(counter.chances // 4 + 3 * stops))
            break
        except Stopped:
            stops += 1
    assert stops >= 3
    ours, theirs = (load_file(at / "output" / "model.safetensors") for at in (stopped, whole))
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    assert result["metrics"]["held_out_reward"] == expected["metrics"]["held_out_reward"]
    assert result["metrics"]["best_step"] == expected["metrics"]["best_step"]


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        (rankings(20), {"reward_model": None}, "needs a reward model"),
        ([row | {"split": "train"} for row in rankings(5)], {}, "needs held-out judgments"),
    ],
)
def test_dpo_says_what_early_stopping_needs(
    rows: list[dict[str, Any]], more: dict[str, Any], message: str, models: Path, tmp_path: Path
):
    with pytest.raises(BadInput, match=message) as error:
        tastes.here(dpo(tmp_path, models, rows, **more))
    assert error.value.setting == "patience"


def test_a_policy_that_cannot_be_sampled_from_keeps_its_last_weights(models: Path, tmp_path: Path, tokenizer):
    config = BloomConfig(vocab_size=320, hidden_size=32, n_layer=1, n_head=2)
    BloomForCausalLM(config).save_pretrained(tmp_path / "bloom")
    tokenizer.save_pretrained(tmp_path / "bloom")
    folder = write_job(
        tmp_path / "job",
        "dpo",
        rankings(20),
        config=DPO | {"layout": "rows"},
        model=str(tmp_path / "bloom"),
        reward_model=str(models / "taste"),
    )
    result, events = tastes.here(folder)
    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert "position biases" in warning
    assert "best_step" not in result["metrics"]
