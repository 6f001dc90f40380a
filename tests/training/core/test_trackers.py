"""Metrics go to a tracker where one is asked for. The packages live in an environment of their own, under var/bench:
`make test PEERS=1` installs it where it is missing and runs their tests."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.environments import peer
from tests.training.core.conftest import judgments, write_job
from tests.training.core.in_process import do_here
from training.core.errors import BadInput
from training.core.trackers import TRACKERS

ROOT = Path(__file__).resolve().parents[3]
needs_trackers = pytest.mark.skipif(
    not os.environ.get("PEERS"), reason="needs trackers: make test PEERS=1 installs them"
)
CONFIG = {"max_steps": 3, "max_length": 100, "threads": 1}


def job(folder: Path, source: Path, tracker: str) -> Path:
    return write_job(folder, "reward", judgments(12), model=str(source), config=CONFIG | {"tracker": tracker})


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_tracker_that_is_not_installed_is_named(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(
        BadInput, match=f"The tracker {name} is not installed here: pip install {name}"
    ) as caught:
        do_here(job(tmp_path, source, name))
    assert caught.value.setting == "tracker"


@needs_trackers
@pytest.mark.live
def test_metrics_arrive_step_by_step(source: Path, tmp_path: Path) -> None:
    python = peer("trackers", "mlflow", "wandb", "trackio", "transformers", "safetensors", "peft")
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "WANDB_MODE": "offline",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
    }
    for name in TRACKERS:
        folder = job(tmp_path / name, source, name)
        done = subprocess.run(
            [python, "-m", "training.core", str(folder)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        steps = database.execute("SELECT step FROM metrics WHERE key = 'loss' ORDER BY step").fetchall()
        assert steps == [(1,), (2,), (3,)]
    assert list((tmp_path / "wandb" / "wandb").glob("offline-run-*/*.wandb"))
    with sqlite3.connect(tmp_path / "trackio" / "palate.db") as database:
        assert database.execute("SELECT count(*) FROM metrics").fetchone()[0] >= 3
