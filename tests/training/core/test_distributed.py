"""Two processes under torchrun end with the model that one makes, and leave nothing that one would not."""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.patience import HANGS_S
from tests.training.core.conftest import judgments, sentence, sharp, write_job
from tests.training.core.processes import ENVIRONMENT, TORCHRUN, do_jobs, tensors
from training.core.__main__ import run
from training.core.distributed import partition
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import read_job

pytestmark = [pytest.mark.live, pytest.mark.slow(40)]


@pytest.fixture(scope="module")
def policy_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> Path:
    """A policy whose output projection is tied: the hardest case to split."""
    folder = tmp_path_factory.mktemp("policy")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    sharp(LlamaForCausalLM(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def conversations(count: int) -> list[dict[str, Any]]:
    rng = random.Random(1)
    return [
        {"messages": [{"role": "user", "content": sentence(rng)}, {"role": "assistant", "content": sentence(rng)}]}
        for _ in range(count)
    ]  # fmt: skip


def rated(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of which every second one has ratings by a criterion, and the others by another."""
    return [
        row | {"criteria": {("kind", "true")[number % 2]: row["ranks"]}} for number, row in enumerate(rows)
    ]


def with_opinions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, the first without weight, and an AI's opinions of the same responses at a low weight."""
    names = ("id", "prompt", "responses", "split")
    opinions = [
        {name: row[name] for name in names} | {"pairs": [[1, 0, 0.8]], "weight": 0.3} for row in rows[::2]
    ]
    return [rows[0] | {"weight": 0.0}, *rows[1:], *opinions]


COMMON = {"batch_size": 3, "max_steps": 5, "learning_rate": 1e-3, "max_length": 100, "batch_tokens": 64}
LORA = {"lora_rank": 4, "learning_rate": 1e-2, "gradient_checkpointing": True, "layout": "rows"}
JOBS: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any]]] = {
    # ten conversations in batches of three: the last of an epoch is one alone, and a process goes empty-handed
    "sft": ("sft", conversations(10), {}),
    "sequences": ("sft", conversations(10), {"reduction": "sequence", "tensorboard": True}),
    "reward": ("reward", judgments(14), {"evaluate_every": 2}),
    "criteria": ("reward", rated(judgments(14)), {"criteria": "kind, true", "evaluate_every": 2}),
    "dpo": ("dpo", judgments(14), {"nll_weight": 0.2, "reduction": "pair"}),
    "opinions": ("reward", with_opinions(judgments(14)), {"evaluate_every": 2}),
    "kto": ("kto", with_opinions(judgments(14)), {"evaluate_every": 2}),
    "lora": ("dpo", judgments(14), LORA),
    "pretrain": ("pretrain", [{"text": sentence(random.Random(n))} for n in range(60)], {"block_length": 32}),
}


def write(folder: Path, policy_folder: Path, **more: Any) -> None:
    for name, (kind, data, config) in JOBS.items():
        write_job(folder / name, kind, data, model=str(policy_folder), config=COMMON | config | more)


@pytest.fixture(scope="module")
def alone(
    policy_folder: Path, tmp_path_factory: pytest.TempPathFactory, warm_core: dict[str, str]
) -> tuple[Path, list[dict[str, Any]]]:
    """The jobs, done by one process, and its events."""
    folder = tmp_path_factory.mktemp("alone")
    write(folder, policy_folder)
    codes, events = do_jobs([folder / name for name in JOBS], 1, warm_core)
    assert codes == [[0] * len(JOBS)]
    return folder, events


@pytest.fixture(scope="module")
def together(
    policy_folder: Path, tmp_path_factory: pytest.TempPathFactory, warm_core: dict[str, str]
) -> tuple[Path, list[dict[str, Any]]]:
    """The jobs, done by two processes, and one that cannot be; and their events."""
    folder = tmp_path_factory.mktemp("together")
    write(folder, policy_folder)
    write_job(folder / "generate", "generate", judgments(2), model=str(policy_folder))
    codes, events = do_jobs([folder / name for name in [*JOBS, "generate"]], 2, warm_core)
    assert codes == [[*[0] * len(JOBS), 2]] * 2
    return folder, events


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_make_the_model_that_one_makes(
    name: str, alone: tuple[Path, Any], together: tuple[Path, Any], policy_folder: Path
):
    one, two = alone[0] / name / "output", together[0] / name / "output"
    ours, theirs = tensors(two), tensors(one)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[key], theirs[key], rtol=0, atol=1e-5) for key in ours)
    start = tensors(policy_folder)
    moved = (
        max(float((theirs[key] - start[key]).abs().max()) for key in theirs if key in start)
        if name not in ("reward", "criteria", "opinions")
        else 1
    )
    assert moved > 1e-3, "far more than the tolerance"
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    config, expected = (json.loads((folder / "config.json").read_text()) for folder in (two, one))
    assert config.pop("reward_bias", 0) == pytest.approx(expected.pop("reward_bias", 0), rel=0, abs=1e-5)
    assert config == expected
    assert not (two.parent / "checkpoint").exists()


def test_one_process_speaks_and_says_what_one_alone_would(
    alone: tuple[Path, list[dict[str, Any]]], together: tuple[Path, list[dict[str, Any]]]
):
    single, double = alone[1], together[1]
    *double, refusal = double
    assert [event["event"] for event in double] == [event["event"] for event in single]
    for ours, theirs in zip(double, single, strict=True):
        if ours["event"] == "metrics":
            assert ours["step"] == theirs["step"]
            assert ours["values"].keys() == theirs["values"].keys()
            for name in ours["values"].keys() - {"tokens_per_s", "memory_mb"}:
                assert ours["values"][name] == pytest.approx(theirs["values"][name], rel=1e-3, abs=2e-4), name
    assert refusal["event"] == "error"
    assert refusal["message"] == "A generate run does not support several processes; start one."


def test_sigterm_reaches_all_and_one_process_can_go_on_from_their_checkpoint(
    policy_folder: Path, tmp_path: Path, warm_core: dict[str, str]
):
    config = COMMON | {"max_steps": 60, "checkpoint_every": 10}
    for name in ("alone", "changed"):
        write_job(tmp_path / name, "sft", conversations(10), model=str(policy_folder), config=config)
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "training.core", str(tmp_path / "changed")],
        env=ENVIRONMENT | warm_core, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and event["step"] == 12:
            process.send_signal(signal.SIGTERM)
            break
    _, err = process.communicate(timeout=HANGS_S)
    assert process.returncode != 0
    assert not (tmp_path / "changed" / "output").exists()
    step = json.loads((tmp_path / "changed" / "checkpoint" / "manifest.json").read_text())["step"]
    assert 12 <= step < 60
    assert step % 10, f"a checkpoint of that moment, not the last one: {err}"
    for name in ("changed", "alone"):
        subprocess.run(
            [sys.executable, "-m", "training.core", str(tmp_path / name)],
            env=ENVIRONMENT | warm_core, capture_output=True, check=True, timeout=HANGS_S,
        )  # fmt: skip
    ours, theirs = (tensors(tmp_path / name / "output") for name in ("changed", "alone"))
    assert all(torch.allclose(ours[key], theirs[key], rtol=0, atol=1e-4) for key in theirs)


def test_work_is_dealt_out_evenly_whole_and_in_order(monkeypatch: pytest.MonkeyPatch):
    items, sizes = list("abcdef"), [9, 2, 4, 4, 1, 8]
    monkeypatch.setenv("WORLD_SIZE", "3")
    parts = []
    for number in range(3):
        monkeypatch.setenv("RANK", str(number))
        parts.append(partition(items, sizes))
    assert parts == [["a"], ["b", "f"], ["c", "d", "e"]], "9, 10 and 9"


def test_a_kind_that_cannot_be_spread_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    write_job(tmp_path, "evaluate", judgments(2), model="m")
    with pytest.raises(BadInput, match="does not support several processes"):
        run(read_job(tmp_path), Events(io.StringIO()))
