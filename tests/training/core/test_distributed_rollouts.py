"""Runs that sample: two processes, each with its part of the prompts, take the steps that one process takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.core import tastes
from tests.training.core.conftest import judgments, write_job
from tests.training.core.processes import do_jobs, tensors

pytestmark = [pytest.mark.live, pytest.mark.slow(40)]

LEARNS = {
    "batch_size": 3,
    "max_steps": 3,
    "learning_rate": 1e-3,
    "max_length": 100,
    "batch_tokens": 64,
    "log_every": 1,
}
TINY = LEARNS | {"samples": 2, "max_new_tokens": 4}
JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo": ("ppo", TINY | {"updates": 2, "kl_target": 1.0, "evaluate_every": 2}),
    "grpo": ("grpo", TINY | {"updates": 2, "samples": 3, "evaluate_every": 1, "patience": 5, "max_kl": 50.0}),
    "reinforce": ("reinforce", TINY | {"baseline": "moving_mean"}),
    "rloo": ("reinforce", TINY | {"lora_rank": 2, "learning_rate": 1e-2, "evaluate_every": 2}),
    "online": ("online", TINY | {"labels": "soft", "samples": 3}),
    "hindsight": ("hindsight", TINY | {"samples": 3, "compare": "batch"}),
    "rejection": ("rejection", TINY | {"sample_tokens": 64}),
    "rest": ("rest", TINY | {"thresholds": "0.2, 0.6", "patience": 2}),
    "dpo": ("dpo", LEARNS | {"evaluate_every": 1, "patience": 5, "max_kl": 50.0}),
}


@pytest.fixture(scope="module")
def outcomes(
    models: Path, tmp_path_factory: pytest.TempPathFactory, warm_core: dict[str, str]
) -> list[tuple[Path, list[dict[str, Any]]]]:
    """The folder and events of one process, and of two."""
    outcomes = []
    for processes in (1, 2):
        folder = tmp_path_factory.mktemp(f"by-{processes}")
        for name, (kind, config) in JOBS.items():
            named = {"model": str(models / "policy"), "reward_model": str(models / "taste")}
            second = {"second_reward_model": str(models / "taste")} if name == "ppo" else {}
            rows = judgments(14) if kind == "dpo" else tastes.prompts(10)
            write_job(folder / name, kind, rows, config=config, **named, **second)
        codes, events = do_jobs([folder / name for name in JOBS], processes, warm_core)
        assert codes == [[0] * len(JOBS)] * processes
        outcomes.append((folder, events))
    return outcomes


def metrics(events: list[dict[str, Any]], name: str) -> list[tuple[int, dict[str, float]]]:
    """The steps and metrics of the job `name`."""
    starts = [place for place, event in enumerate(events) if event["event"] == "start"]
    start = starts[list(JOBS).index(name)]
    end = next(place for place in range(start, len(events)) if events[place]["event"] == "done")
    return [(event["step"], event["values"]) for event in events[start:end] if event["event"] == "metrics"]


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_take_the_steps_that_one_takes(
    name: str, outcomes: list[tuple[Path, list[dict[str, Any]]]], models: Path
):
    (one, single), (two, double) = outcomes
    ours, theirs = metrics(double, name), metrics(single, name)
    assert [step for step, _ in ours] == [step for step, _ in theirs]
    assert len({step for step, values in theirs if "loss" in values}) >= 2
    for (step, values), (_, expected) in zip(ours, theirs, strict=True):
        assert values.keys() == expected.keys()
        for key in expected.keys() - {"tokens_per_s", "memory_mb"}:
            assert values[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-5), (step, key)
        if "loss" in expected:
            assert values["loss"] == pytest.approx(expected["loss"], abs=1e-5)
    weights, expected_weights = tensors(two / name / "output"), tensors(one / name / "output")
    assert weights.keys() == expected_weights.keys()
    assert all(torch.allclose(weights[key], expected_weights[key], rtol=0, atol=1e-5) for key in weights)
    start = tensors(models / "policy")
    moved = max(float((expected_weights[key] - start[key]).abs().max()) for key in start)
    assert moved > 5e-4, "far more than the tolerance"
    files = {path.name for path in (one / name / "output").iterdir()}
    assert {path.name for path in (two / name / "output").iterdir()} == files


def test_two_processes_sample_what_one_samples(outcomes: list[tuple[Path, list[dict[str, Any]]]]):
    (one, _), (two, _) = outcomes
    ours, theirs = (
        [
            json.loads(line)
            for line in (folder / "rejection" / "output" / "best.jsonl").read_text().splitlines()
        ]
        for folder in (two, one)
    )
    assert [row["token_ids"] for row in ours] == [row["token_ids"] for row in theirs]
