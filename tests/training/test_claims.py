"""What makes workers that die, and messages that are lost, late or repeated, harmless to a run."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from annotation.models import Project, User
from tests import builders
from tests.patience import HANGS_S
from tests.processes import kill, process, until
from tests.training.test_tasks import SMALL, over, snapshot_of_judgments
from training import tasks
from training.models import ModelVersion, Run
from training.runs.actions import (
    cancel_run,
    claim_run,
    finish_run,
    heartbeat,
    record_metrics,
    record_progress,
    resume_run,
    start_run,
)

pytestmark = [pytest.mark.live, pytest.mark.slow(40), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path)
    return tmp_path


def test_a_run_completes_though_its_worker_is_killed(
    project: Project, alice: User, warm_core: dict[str, str]
) -> None:
    """kill -9 of the worker in mid-training: another one takes the run over, and goes on from the checkpoint."""
    snapshot = snapshot_of_judgments(project, alice)
    config = SMALL | {"epochs": 150, "batch_size": 8, "checkpoint_every": 5}
    run = start_run(project=project, kind="reward", creator=alice, snapshot=snapshot, config=config)
    with process("trainer", **warm_core) as worker:
        until(lambda: Run.objects.get(pk=run.pk).step >= 20, "twenty steps")
        kill(worker)
    run.refresh_from_db()
    assert run.state == Run.State.RUNNING
    reached = run.step
    assert reached < run.total
    with (
        process("worker"),
        process("trainer", **warm_core),
    ):  # the sweep lives in `worker`: no message is left to deliver
        until(lambda: over(run), "the run ends")
    assert (run.state, run.error) == (Run.State.DONE, "")
    assert run.attempt == 2
    assert run.step == run.total
    started = [json.loads(line) for line in (run.folder / "events.jsonl").open() if '"start"' in line]
    assert started[-1]["resumed_from"] >= 5
    assert ModelVersion.objects.filter(run=run).count() == 1


def test_a_worker_that_is_told_to_stop_puts_its_run_back(
    project: Project, alice: User, warm_core: dict[str, str]
) -> None:
    """SIGTERM of the worker alone: the core writes a checkpoint, the run is queued, and the next worker goes on from there."""
    snapshot = snapshot_of_judgments(project, alice)
    config = SMALL | {"epochs": 150, "batch_size": 8, "checkpoint_every": 100_000}
    run = start_run(project=project, kind="reward", creator=alice, snapshot=snapshot, config=config)
    with process("trainer", **warm_core) as worker:
        until(lambda: Run.objects.get(pk=run.pk).step >= 20, "twenty steps")
        worker.terminate()
        assert worker.wait(HANGS_S) == 0
    run.refresh_from_db()
    assert (run.state, run.claim, run.attempt) == (Run.State.QUEUED, None, 0)
    with process("trainer", **warm_core):  # no sweep: the stopped worker left a message
        until(lambda: over(run), "the run ends")
    assert (run.state, run.error, run.attempt) == (Run.State.DONE, "", 1)
    started = [json.loads(line) for line in (run.folder / "events.jsonl").open() if '"start"' in line]
    assert started[-1]["resumed_from"] >= 20


def test_a_run_spread_over_two_processes_can_be_cancelled_and_resumed(
    project: Project, alice: User, warm_core: dict[str, str]
) -> None:
    snapshot = snapshot_of_judgments(project, alice)
    config = SMALL | {"epochs": 40, "batch_size": 8, "checkpoint_every": 1}
    with process("trainer", TRAINER_PROCESSES="2", **warm_core):
        run = start_run(project=project, kind="dpo", creator=alice, snapshot=snapshot, config=config)
        until(lambda: Run.objects.get(pk=run.pk).step >= 3, "three steps")
        cancel_run(run)
        until(lambda: over(run), "the run stops")
        assert run.state == Run.State.CANCELLED, run.error
        resume_run(run)
        until(lambda: over(run), "the resumed run ends")
    assert run.state == Run.State.DONE, run.error
    started = [json.loads(line) for line in (run.folder / "events.jsonl").open() if '"start"' in line]
    assert [event["resumed_from"] is None for event in started] == [True, False]
    assert run.result["processes"] == 2


KILLED_ABOVE = """
import json, os, runpy, signal, sys
if json.load(open(sys.argv[1] + "/job.json"))["config"]["batch_tokens"] > {limit}:
    print("Loading: 0%\\rLoading: 100%\\n\\x1b[1;31mtoo\\x1b[0m many", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
runpy.run_module("training.core", run_name="__main__", alter_sys=True)
"""


def test_a_run_whose_memory_ran_out_goes_on_with_less(
    project: Project, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core is killed above a limit, as Linux does, and then completes."""

    def command(run: Run, limit: int = 1500) -> list[str]:
        return [sys.executable, "-c", KILLED_ABOVE.format(limit=limit), str(run.folder)]

    monkeypatch.setattr(tasks, "_core_command", command)
    snapshot = snapshot_of_judgments(project, alice)
    run = start_run(
        project=project,
        kind="reward",
        creator=alice,
        snapshot=snapshot,
        config=SMALL | {"batch_tokens": 4096},
    )
    for expected in (2048, 1024):
        tasks.execute_run.run(run.pk)
        run.refresh_from_db()
        assert (run.state, run.config["batch_tokens"]) == ("queued", expected)
    assert run.warnings[-1] == "Memory ran out. The run goes on with 1024 instead of 2048 batch_tokens."
    tasks.execute_run.run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.error) == (Run.State.DONE, "")


def test_a_run_that_has_little_to_lower_fails_and_says_why(
    project: Project, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = KILLED_ABOVE.format(limit=0)
    monkeypatch.setattr(tasks, "_core_command", lambda run: [sys.executable, "-c", program, str(run.folder)])
    snapshot = snapshot_of_judgments(project, alice)
    run = start_run(
        project=project, kind="reward", creator=alice, snapshot=snapshot, config=SMALL | {"batch_tokens": 256}
    )
    tasks.execute_run.run(run.pk)
    run.refresh_from_db()
    assert run.state == Run.State.FAILED
    assert "ended with code -9" in run.error
    assert run.log.text == "Loading: 100%\ntoo many\n"


def test_messages_of_the_core_are_stored_without_what_postgresql_cannot_store(
    project: Project, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may quote what a server answered."""
    events = [{"event": name, "message": f"{name} \0\ud800"} for name in ("warning", "error")]
    program = f"import json\nfor event in {events!r}: print(json.dumps(event))\nraise SystemExit(1)"
    monkeypatch.setattr(tasks, "_core_command", lambda run: [sys.executable, "-c", program])
    snapshot = snapshot_of_judgments(project, alice)
    run = start_run(project=project, kind="reward", creator=alice, snapshot=snapshot, config=SMALL)
    tasks.execute_run.run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.error, run.warnings) == (Run.State.FAILED, "error ?", ["warning ?"])


class TestClaims:
    """Lost, late and repeated messages do no harm."""

    @pytest.fixture
    def run(self, project: Project, alice: User) -> Run:
        builders.items(project, 1, k=3)
        return start_run(project=project, kind="generate", creator=alice)

    def test_a_run_is_claimed_once(self, run: Run) -> None:
        assert claim_run(run.pk) is not None
        assert claim_run(run.pk) is None

    def test_a_worker_without_heartbeats_loses_its_claim_and_can_write_nothing(self, run: Run) -> None:
        lost = claim_run(run.pk)
        assert lost is not None
        Run.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - timezone.timedelta(minutes=5))
        assert claim_run(run.pk) is not None
        assert not heartbeat(lost)
        record_metrics(lost, step=1, values={"loss": 1.0})
        record_progress(lost, step=7, total=9, eta_s=None)
        assert not finish_run(lost, state=Run.State.DONE)
        run.refresh_from_db()
        assert (run.state, run.step, run.metrics.count(), run.attempt) == (Run.State.RUNNING, 0, 0, 2)

    def test_a_run_fails_after_the_last_attempt(self, run: Run) -> None:
        Run.objects.filter(pk=run.pk).update(attempt=tasks.MAX_ATTEMPTS)
        tasks.execute_run(run.pk)
        run.refresh_from_db()
        assert run.state == Run.State.FAILED
        assert "died" in run.error

    def test_the_folder_stays_locked_while_an_orphan_runs(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks, "LOCK_TIMEOUT_S", 0.3)
        with tasks._locked_folder(run):
            orphan = os.fork()
            if not orphan:  # holds the lock that it inherited, as the core does
                signal.pause()
        try:
            with pytest.raises(BlockingIOError), tasks._locked_folder(run):
                pass
        finally:
            os.kill(orphan, signal.SIGKILL)
            os.waitpid(orphan, 0)
        with tasks._locked_folder(run):
            pass
