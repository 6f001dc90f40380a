"""The real program, `python -m training.core`, as its parent sees it: exit codes, events, and what it leaves behind."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import BloomConfig, BloomForCausalLM

from tests.patience import HANGS_S
from tests.training.core.conftest import judgments, sentence, write_job

pytestmark = [pytest.mark.live, pytest.mark.slow(30)]

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "layers": 2,
    "heads": 2,
    "kv_heads": 1,
    "vocab_size": 320,
}
Do = Callable[..., tuple[int, list[dict[str, Any]]]]


def values(events: list[dict[str, Any]], name: str) -> list[float]:
    return [
        event["values"][name] for event in events if event["event"] == "metrics" and name in event["values"]
    ]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, do: Do) -> Path:
    """A policy that was pre-trained by the program."""
    folder = tmp_path_factory.mktemp("base")
    rng = random.Random(0)
    config = SIZES | {"max_steps": 12, "batch_size": 8, "block_length": 32, "max_length": 128}
    write_job(folder, "pretrain", [{"text": sentence(rng)} for _ in range(300)], config=config)
    code, events = do(folder, cold=True)
    assert code == 0
    assert events[0] == {"event": "start", "kind": "pretrain", "total": 12, "resumed_from": None}
    assert [event["step"] for event in events if event["event"] == "progress"] == list(range(1, 13))
    assert values(events, "loss")[-1] < values(events, "loss")[0]
    assert events[-1]["event"] == "done"
    assert json.loads((folder / "output" / "palate.json").read_text())["config"]["max_steps"] == 12
    assert not (folder / "checkpoint").exists()
    return folder / "output"


def test_a_finished_job_is_not_done_twice(base: Path, do: Do):
    before = (base / "model.safetensors").stat().st_mtime_ns
    code, events = do(base.parent)
    assert code == 0
    assert events == [{"event": "done", "result": json.loads((base / "result.json").read_text())}]
    assert events[0]["result"]["output"] == str(base)
    assert events[0]["result"]["metrics"]["loss"] > 0
    assert (base / "model.safetensors").stat().st_mtime_ns == before


def test_sft_learns_the_answers(base: Path, do: Do, tmp_path: Path):
    rng = random.Random(1)
    rows = [
        {"messages": [{"role": "user", "content": sentence(rng)}, {"role": "assistant", "content": "thank you kindly."}]}
        for _ in range(60)
    ]  # fmt: skip
    config = {"batch_size": 8, "epochs": 4, "learning_rate": 5e-3, "reduction": "sequence"}
    code, events = do(write_job(tmp_path, "sft", rows, model=str(base), config=config))
    assert code == 0
    assert values(events, "loss")[-1] < values(events, "loss")[0] / 2


def test_samples_are_carried_out_whole_and_can_be_repeated(base: Path, do: Do, tmp_path: Path):
    rng = random.Random(2)
    rows = [
        {"id": f"p{number}", "prompt": [{"role": "user", "content": sentence(rng)}]} for number in range(5)
    ]
    config = {"samples": 3, "max_new_tokens": 12, "max_length": 100, "temperature": 0.8, "seed": 4}
    outputs = []
    for folder, most in ((tmp_path / "a", 100_000), (tmp_path / "b", 200)):
        write_job(folder, "generate", rows, model=str(base), config=config | {"batch_tokens": most})
        code, _ = do(folder)
        assert code == 0
        lines = [
            json.loads(line) for line in (folder / "output" / "responses.jsonl").read_text().splitlines()
        ]
        outputs.append([(line["id"], line["sample"], line["token_ids"]) for line in lines])
    assert outputs[0] == outputs[1], "the batch a prompt is in does not matter"
    assert [line["id"] for line in lines] == [row["id"] for row in rows for _ in range(3)]
    assert set(lines[0]) == {
        "id",
        "sample",
        "text",
        "token_ids",
        "logprobs",
        "seed",
        "temperature",
        "finished",
    }
    assert len({line["seed"] for line in lines}) == 15


def test_a_reward_model_is_trained_reported_and_loaded_again(base: Path, do: Do, tmp_path: Path):
    rows = judgments(48)
    for row in rows:  # something to learn: the shorter, the better
        row["responses"] = sorted(row["responses"], key=len)
        row["ranks"] = list(range(1, len(row["responses"]) + 1))
    config = {"batch_size": 6, "epochs": 12, "learning_rate": 3e-3, "max_length": 100, "evaluate_every": 20}
    trained = write_job(tmp_path / "reward", "reward", rows, model=str(base), config=config)
    code, events = do(trained)
    assert code == 0
    report = json.loads((trained / "output" / "report.json").read_text())
    assert report["accuracy"] > 0.75
    assert report["pairs"] == sum(degree["pairs"] for degree in report["accuracy_by_degree"].values())
    assert report["accuracy_by_degree"]["better"]["pairs"] == 4
    assert report["mean_chosen"] > report["mean_rejected"]
    assert 0 <= report["ece"] <= 1
    assert len(values(events, "held_out_accuracy")) > 1

    again = write_job(
        tmp_path / "again", "evaluate", rows, reward_model="../reward/output", config={"max_length": 100}
    )
    code, events = do(again)
    assert code == 0
    repeated = json.loads((again / "output" / "report.json").read_text())
    assert repeated["accuracy"] == report["accuracy"]
    assert repeated["mean_chosen"] == pytest.approx(report["mean_chosen"], abs=1e-4)
    lines = [json.loads(line) for line in (again / "output" / "scores.jsonl").read_text().splitlines()]
    assert [len(line["rewards"]) for line in lines] == [len(row["responses"]) for row in rows]
    reference = [
        r for row, line in zip(rows, lines, strict=True) if row["split"] == "train" for r in line["rewards"]
    ]
    assert sum(reference) / len(reference) == pytest.approx(0, abs=1e-4)


DPO = {"batch_size": 3, "epochs": 6, "learning_rate": 1e-3, "max_length": 100, "checkpoint_every": 4}


@pytest.fixture(scope="session")
def never_killed(
    base: Path, do: Do, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]]]:
    folder = write_job(tmp_path_factory.mktemp("dpo"), "dpo", judgments(40), model=str(base), config=DPO)
    code, events = do(folder)
    assert code == 0
    return folder, events


def test_dpo_starts_at_log_two_with_no_divergence_and_learns(never_killed):
    _, events = never_killed
    assert values(events, "loss")[0] == pytest.approx(0.693147, abs=1e-5)
    assert values(events, "kl")[0] == pytest.approx(0, abs=1e-4)
    assert values(events, "accuracy")[0] <= 0.5, "no pair is preferred yet"
    assert values(events, "accuracy")[-1] > 0.8
    assert values(events, "kl")[-1] != 0


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_stopped_ends_with_the_same_weights(
    sign: signal.Signals,
    base: Path,
    do: Do,
    start: Callable[..., subprocess.Popen[str]],
    never_killed: tuple[Path, list[dict[str, Any]]],
    tmp_path: Path,
):
    folder = write_job(tmp_path, "dpo", judgments(40), model=str(base), config=DPO)
    process = start(folder, cold=True)
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and event["step"] == 10:
            process.send_signal(sign)
            break
    process.communicate(timeout=HANGS_S)
    assert process.returncode == (3 if sign == signal.SIGTERM else -signal.SIGKILL)
    assert not (folder / "output").exists()

    code, events = do(folder)
    assert code == 0
    assert events[0]["resumed_from"] >= 8
    ours, theirs = (load_file(at / "output" / "model.safetensors") for at in (folder, never_killed[0]))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)
    last = {name: event for event in events if event["event"] == "metrics" for name in event["values"]}
    expected = values(never_killed[1], "held_out_accuracy")
    assert last["held_out_accuracy"]["values"]["held_out_accuracy"] == expected[-1]


def test_bad_input_ends_with_a_sentence_and_two(base: Path, do: Do, tmp_path: Path):
    rows = judgments(4)
    rows[2]["ranks"] = [1, 2]
    code, events = do(write_job(tmp_path, "dpo", rows, model=str(base)))
    assert code == 2
    [error] = events
    assert error["event"] == "error"
    assert error["line"] == 3
    assert error["message"] == "Line 3 of data.jsonl: there are 4 responses but 2 ranks."
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(("kind", "setting"), [("generate", "model"), ("dpo", "layout")])
def test_models_with_attention_of_their_own_kind_are_refused(
    kind, setting, tokenizer, do: Do, tmp_path: Path
):
    source = tmp_path / "bloom"
    config = BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=2, n_head=2)
    BloomForCausalLM(config).save_pretrained(source)
    tokenizer.save_pretrained(source)
    settings = {"max_new_tokens": 8} if kind == "generate" else {}
    job = write_job(
        tmp_path / kind, kind, judgments(4), model=str(source), config=settings | {"max_length": 64}
    )
    code, events = do(job)
    assert code == 2
    assert "position biases (ALiBi)" in events[-1]["message"]
    assert events[-1]["setting"] == setting
