"""Runs as jobs of a real Slurm with two nodes, by docs/cluster/slurm.toml as it stands there."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from tests import slurm
from tests.processes import until
from tests.training.conftest import ROOT
from tests.training.test_launch import LONG, events, execute, executing, start, step
from training.launch.job_slots import is_any_slot_held
from training.launch.scheduler import read_scheduler
from training.models import ModelVersion, Run
from training.runs.actions import cancel_run, resume_run

__all__ = ["start"]  # a fixture

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow(90),
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not slurm.is_installed(), reason="no Slurm here"),
]


@pytest.fixture(scope="module")
def slurm_environment() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="palate-") as folder, slurm.slurm(Path(folder)) as environment:
        yield environment


@pytest.fixture
def cluster(
    slurm_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    warm_core: dict[str, str],
) -> None:
    scheduler = read_scheduler(ROOT / "docs" / "cluster" / "slurm.toml")
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path / "artifacts")
    monkeypatch.setattr(settings, "LAUNCHER", replace(scheduler, poll_s=0.2))
    monkeypatch.setattr(settings, "RUN_HEARTBEAT_S", 0.2)
    for name, value in (slurm_environment | warm_core).items():
        monkeypatch.setenv(name, value)


def states(run: Run) -> list[str]:
    """Of the run's jobs, in Slurm's words."""
    command = ["squeue", "--noheader", "--states=all", f"--name={run.launch['name']}", "--format=%T"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def assert_done_once(run: Run) -> None:
    assert (run.state, run.error, run.warnings) == (Run.State.DONE, "", [])
    assert ModelVersion.objects.filter(run=run).count() == 1
    assert len(events(run, "done")) == 1
    assert not is_any_slot_held(run.folder, run.nodes)
    until(lambda: states(run) == ["COMPLETED"], "the job is over")


def test_a_run_is_a_job(start: Callable[..., Run]) -> None:
    run = execute(start(queue="debug"))
    assert_done_once(run)
    assert run.metrics.count() > 0


def test_two_nodes_do_one_run(start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WARM_CORE")
    run = execute(start(nodes=2))
    assert_done_once(run)
    assert run.result["processes"] == 2


def test_a_cancelled_run_stops_with_a_checkpoint_and_can_be_resumed(start: Callable[..., Run]) -> None:
    run = start(LONG)
    with executing(run):
        until(lambda: step(run) >= 5, "five steps")
        cancel_run(run)
    assert (run.state, run.error) == (Run.State.CANCELLED, "")
    assert (run.folder / "checkpoint").is_dir()
    until(lambda: states(run)[0] in ("CANCELLED", "COMPLETED", "FAILED"), "the job is over")
    resume_run(run)
    assert_done_once(execute(run))
    assert events(run, "start")[-1]["resumed_from"] >= 5


def test_a_job_that_is_to_stop_is_submitted_again_and_continues(start: Callable[..., Run]) -> None:
    """As at the end of its time (`--signal=TERM@120`), or when it is preempted."""
    run = start(LONG)
    with executing(run):
        until(lambda: step(run) >= 5, "five steps")
        run.refresh_from_db()
        first = run.launch["name"]
        subprocess.run(["scancel", "--signal=TERM", f"--name={first}"], check=True)
    assert (run.state, run.error) == (Run.State.QUEUED, "")
    assert_done_once(execute(run))
    assert run.launch["name"] != first
    assert events(run, "start")[-1]["resumed_from"] >= 5


def test_a_killed_job_fails_its_run_which_can_be_resumed(start: Callable[..., Run]) -> None:
    run = start(LONG)
    with executing(run):
        until(lambda: step(run) >= 5, "five steps")
        run.refresh_from_db()
        subprocess.run(["pkill", "-KILL", "-f", str(run.folder)], check=True)
    assert run.state == Run.State.FAILED
    assert run.launch["name"] in run.error
    resume_run(run)
    assert_done_once(execute(run))
