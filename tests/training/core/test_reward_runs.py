"""How a run of the reward model ends: by patience, with the best weights, and with its scale shifted to zero."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.training.core.conftest import judgments, tiny_llama, write_job
from tests.training.core.in_process import Recorded, curve, do_here
from training.configs import ConfigError, RewardConfig, from_dict
from training.core.batching import Passes
from training.core.data import read_rankings
from training.core.early_stopping import EarlyStopping
from training.core.errors import BadInput
from training.core.job_directory import read_job
from training.core.preference_groups import group_rankings
from training.core.reward_model import RewardModel, load_reward_model
from training.core.tokenization import Encoder
from training.core.train_reward import score_groups
from training.core.training_loop import TrainingLoop

OVERFITTING = {
    "batch_size": 6, "epochs": 12, "learning_rate": 3e-3, "schedule": "constant", "warmup_min_steps": 0,
    "max_length": 100, "evaluate_every": 2, "patience": 3, "checkpoint_every": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def stopped_early(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, list[dict]]:
    folder = tmp_path_factory.mktemp("early")
    write_job(folder, "reward", judgments(24), model=str(source), config=OVERFITTING)
    return folder, *do_here(folder)


def test_a_run_stops_after_so_many_checks_without_a_lower_loss(stopped_early):
    _, result, events = stopped_early
    losses = curve(events, "held_out_loss")
    assert list(losses) == list(range(2, max(losses) + 1, 2))
    last, best = max(losses), min(losses, key=losses.__getitem__)
    assert last < events[0]["total"]
    assert result["best_step"] == best == last - 6
    assert all(losses[step] >= losses[best] for step in losses)
    assert max(event["step"] for event in events if event["event"] == "progress") == last


def test_the_best_weights_are_restored(stopped_early, source: Path, tmp_path: Path):
    """They are those of a run that was never meant to go any further."""
    folder, result, events = stopped_early
    config = OVERFITTING | {"max_steps": result["best_step"], "patience": 0}
    shorter = write_job(tmp_path, "reward", judgments(24), model=str(source), config=config)
    do_here(shorter)
    assert_same_weights(shorter, folder)
    report = json.loads((folder / "output" / "report.json").read_text())
    best = curve(events, "held_out_loss")[result["best_step"]]
    assert report["held_out_loss"] == pytest.approx(best, rel=1e-5)


def assert_same_weights(one: Path, other: Path) -> None:
    ours, theirs = (load_file(folder / "output" / "model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    assert all(ours[key].equal(theirs[key]) for key in ours)
    ours, theirs = (json.loads((folder / "output" / "config.json").read_text()) for folder in (one, other))
    assert ours == theirs


def test_misses_are_counted_from_the_best(source: Path, tmp_path: Path):
    """An equal loss is a miss, a lower one ends the count, and no step is counted twice."""
    folder = write_job(tmp_path, "reward", judgments(4), model=str(source))
    model = RewardModel(tiny_llama().base_model)
    loop = TrainingLoop(read_job(folder), RewardConfig(), model, examples=4, events=Recorded())
    best = EarlyStopping(loop, patience=2)
    seen = []
    for loop.steps_done, loss in enumerate([3.0, 2.0, 2.5, 1.0, 1.0, 1.0, math.nan], start=1):
        with torch.no_grad():
            model.weight.fill_(loop.steps_done)
        best.record(loss)
        best.record(loss)
        seen.append((best.best_step, best.exhausted))
    assert [step for step, _ in seen] == [1, 2, 2, 4, 4, 4, 4]
    assert [exhausted for _, exhausted in seen] == [False] * 5 + [True] * 2
    best.restore()
    assert model.weight.tolist() == [4.0] * 32


def test_a_run_that_goes_to_its_end_keeps_the_best_weights_too(source: Path, tmp_path: Path):
    """The last weights are looked at as well, though no check is due there."""
    for steps, best in ((3, 3), (7, None)):
        config = OVERFITTING | {"max_steps": steps, "patience": 50, "learning_rate": 1e-3}
        folder = write_job(tmp_path / str(steps), "reward", judgments(24), model=str(source), config=config)
        result, events = do_here(folder)
        losses = curve(events, "held_out_loss")
        assert list(losses) == [*range(2, steps, 2), steps]
        assert result["best_step"] == min(losses, key=losses.__getitem__)
        assert best is None or result["best_step"] == best


@pytest.mark.parametrize("gently", [False, True], ids=["killed", "asked to stop"])
def test_a_run_ended_anywhere_stops_at_the_same_step_with_the_same_weights(
    gently: bool, stopped_early, source: Path, tmp_path: Path
):
    """Between a checkpoint and its check, right after a check, before the last one and after it."""
    whole, result, events = stopped_early
    checks = [n for n, event in enumerate(events) if "held_out_loss" in event.get("values", {})]
    saved = [n for n, event in enumerate(events) if event["event"] == "progress" and event["step"] % 4 == 0]
    for place in (saved[0], saved[0] + 1, checks[1], checks[-1] - 1, checks[-1]):
        folder = write_job(
            tmp_path / str(place), "reward", judgments(24), model=str(source), config=OVERFITTING
        )
        first, _ = do_here(folder, Recorded(place, gently=gently))
        assert first is None
        assert not (folder / "output").exists()
        again, _ = do_here(folder)
        assert again["best_step"] == result["best_step"]
        assert again["report"] == result["report"]
        assert_same_weights(folder, whole)


def test_adapters_are_put_back_before_they_are_merged(source: Path, tmp_path: Path):
    """LoRA: the best weights are the adapters of the best step, and a stopped run ends with the same."""
    more = {"lora_rank": 2, "learning_rate": 1e-2}
    whole = write_job(tmp_path / "a", "reward", judgments(24), model=str(source), config=OVERFITTING | more)
    result, events = do_here(whole)
    losses = curve(events, "held_out_loss")
    best = result["best_step"]
    assert best == min(losses, key=losses.__getitem__) < max(losses) < events[0]["total"]
    assert result["report"]["held_out_loss"] == pytest.approx(losses[best], rel=1e-4)

    stopped = write_job(tmp_path / "b", "reward", judgments(24), model=str(source), config=OVERFITTING | more)
    last = max(n for n, event in enumerate(events) if "held_out_loss" in event.get("values", {}))
    assert do_here(stopped, Recorded(last, gently=True))[0] is None
    assert do_here(stopped)[0]["best_step"] == best
    assert_same_weights(stopped, whole)


def test_patience_needs_checks_and_held_out_judgments(source: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="needs evaluations during training") as caught:
        from_dict("reward", {"patience": 2})
    assert caught.value.field == "patience"
    rows = [row | {"split": "train"} for row in judgments(4)]
    config = {"patience": 2, "evaluate_every": 1}
    with pytest.raises(BadInput, match="Early stopping needs held-out judgments") as refused:
        do_here(write_job(tmp_path, "reward", rows, model=str(source), config=config))
    assert refused.value.setting == "patience"


@pytest.mark.parametrize("more", [{}, {"precision": "bfloat16"}], ids=["float32", "bfloat16"])
def test_reference_responses_score_zero_on_average(more: dict, source: Path, tmp_path: Path, tokenizer):
    config = OVERFITTING | {"max_steps": 8, "patience": 1} | more
    folder = write_job(tmp_path, "reward", judgments(24), model=str(source), config=config)
    result, _ = do_here(folder)
    model = load_reward_model(str(folder / "output"), precision=config.get("precision", "float32"))
    rankings = [one for one in read_rankings(folder / "data.jsonl") if not one.held_out]
    passes = Passes(model.trunk, "shared", 8192, 100)
    judged = group_rankings(rankings, Encoder(tokenizer, 100))
    rewards = [
        reward for found in score_groups(model, judged, passes, lambda: None).rewards for reward in found
    ]
    assert abs(result["report"]["bias"]) > 1e-3
    assert sum(rewards) / len(rewards) == pytest.approx(0, abs=1e-6)


def test_a_reward_model_that_is_trained_further_is_centred_again(stopped_early, tmp_path: Path, tokenizer):
    """Its old bias is not counted twice."""
    folder = stopped_early[0]
    config = OVERFITTING | {"max_steps": 1, "patience": 0, "learning_rate": 1e-9}
    again = write_job(tmp_path, "reward", judgments(24), model=str(folder / "output"), config=config)
    result, _ = do_here(again)
    assert result["report"]["bias"] == pytest.approx(stopped_early[1]["report"]["bias"], abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_report_is_that_of_the_model_as_it_is_stored(
    dtype: torch.dtype, source: Path, tmp_path: Path, tokenizer
):
    """A model that is stored in 16 bits is trained in 32: an evaluation of what was stored gives the same numbers."""
    base = AutoModelForCausalLM.from_pretrained(source).to(dtype)
    base.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    config = {"batch_size": 6, "epochs": 2, "learning_rate": 3e-3, "max_length": 100}
    trained = write_job(
        tmp_path / "run", "reward", judgments(24), model=str(tmp_path / "base"), config=config
    )
    do_here(trained)
    stored = load_file(trained / "output" / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {dtype}
    settings = {"max_length": 100}
    again = write_job(
        tmp_path / "again", "evaluate", judgments(24), model=str(trained / "output"), config=settings
    )
    do_here(again)
    first, second = (
        json.loads((folder / "output" / "report.json").read_text()) for folder in (trained, again)
    )
    assert first["pairs"] == second["pairs"] > 0
    for name in ("accuracy", "mean_chosen", "mean_rejected", "ece"):
        assert second[name] == pytest.approx(first[name], abs=2e-6), name
