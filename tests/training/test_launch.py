"""Runs as jobs of a cluster's scheduler: a real process with commands of its own, which fails in all the ways that they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from annotation.models import Project, User
from tests.patience import HANGS_S
from tests.processes import kill, process, until
from tests.training.conftest import ROOT
from tests.training.test_tasks import SMALL, over, snapshot_of_judgments
from training import tasks
from training.launch.job import Resources
from training.launch.job_slots import Launch, is_any_slot_held, read_launch, write_launch
from training.launch.scheduled_job import SUBMITTED, ScheduledJob
from training.launch.scheduler import read_scheduler
from training.models import ModelVersion, Run
from training.runs.actions import cancel_run, claim_run, record_launch, resume_run, start_run
from training.runs.job_files import write_job

pytestmark = [pytest.mark.live, pytest.mark.slow(60), pytest.mark.django_db(transaction=True)]

FAKE = Path(__file__).with_name("fake_scheduler.py")
LONG = SMALL | {"epochs": 60, "batch_size": 8, "checkpoint_every": 5}
SHORT = SMALL | {"max_steps": 3, "batch_size": 4}


class Cluster:
    """The fake scheduler, its state and its description."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "scheduler"
        self.state.mkdir()
        self.file = folder / "fake.toml"
        commands = {
            "submit": ["{name}", "{nodes}", "{queue}", "{priority}", "{argv}"],
            "status": ["{name}"],
            "cancel": ["{name}"],
        }
        lines = [
            f"{verb} = {json.dumps([sys.executable, str(FAKE), verb, str(self.state), *arguments])}"
            for verb, arguments in commands.items()
        ]
        lines += ['alive = ["PENDING", "RUNNING"]', 'ended = ["COMPLETED", "FAILED", "CANCELLED"]']
        lines += ['queues = ["slow", "fast"]', "nodes = 2", "gpus = 2", "poll_s = 0.1"]
        self.file.write_text("\n".join(lines))
        self.mode()

    def mode(self, **values: Any) -> None:
        (self.state / "mode.json").write_text(json.dumps(values))

    def commands(self, verb: str) -> list[list[str]]:
        log = self.state / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.split()[1:] for line in lines if line.startswith(verb)]

    @property
    def output(self) -> str:
        return (self.state / "output").read_text()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_core: dict[str, str]) -> Cluster:
    cluster = Cluster(tmp_path)
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path / "artifacts")
    monkeypatch.setattr(settings, "LAUNCHER", read_scheduler(cluster.file))
    monkeypatch.setattr(settings, "RUN_HEARTBEAT_S", 0.2)
    for name, value in warm_core.items():
        monkeypatch.setenv(name, value)
    return cluster


@pytest.fixture
def start(project: Project, alice: User, cluster: Cluster) -> Callable[..., Run]:
    """Starts a run that trains a reward model."""
    snapshot = snapshot_of_judgments(project, alice)

    def start(config: dict[str, Any] = SHORT, **resources: Any) -> Run:
        return start_run(
            project=project,
            kind="reward",
            creator=alice,
            snapshot=snapshot,
            config=config,
            resources=resources,
        )

    return start


def execute(run: Run) -> Run:
    tasks.execute_run.run(run.pk)
    run.refresh_from_db()
    return run


@contextmanager
def executing(run: Run) -> Iterator[None]:
    """A worker executes the run meanwhile; at the end it is awaited."""

    def work() -> None:
        try:
            tasks.execute_run.run(run.pk)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    yield
    worker.join(HANGS_S)
    assert not worker.is_alive()
    run.refresh_from_db()


def step(run: Run) -> int:
    return Run.objects.get(pk=run.pk).step


def events(run: Run, name: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (run.folder / "events.jsonl").read_text().split("\n")[:-1])
    return [event for event in lines if event["event"] == name]


def assert_done_once(run: Run, cluster: Cluster, submits: int = 1) -> None:
    assert (run.state, run.error) == (Run.State.DONE, "")
    assert ModelVersion.objects.filter(run=run).count() == 1
    assert len(cluster.commands("submit")) == submits
    assert len(events(run, "done")) == 1
    assert not is_any_slot_held(run.folder, run.nodes)


def test_a_run_goes_through_the_scheduler(start: Callable[..., Run], cluster: Cluster) -> None:
    cluster.mode(delay=0.5)
    run = execute(start(queue="fast", priority=7))
    assert_done_once(run, cluster)
    assert cluster.commands("submit") == [[run.launch["name"], "1", "fast", "7"]]
    assert run.launch["name"].startswith(f"palate-{run.pk}-")
    assert run.metrics.count() > 0
    assert (run.attempt, run.warnings) == (1, [])
    assert cluster.commands("cancel") == []


def test_two_nodes_find_each_other_and_do_one_run(
    start: Callable[..., Run], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WARM_CORE")
    run = execute(start(nodes=2))
    assert_done_once(run, cluster)
    assert run.result["processes"] == 2
    assert not (run.folder / "rendezvous.json").exists()


def test_a_cancelled_run_stops_with_a_checkpoint_and_can_be_resumed(
    start: Callable[..., Run], cluster: Cluster
) -> None:
    run = start(LONG)
    with executing(run):
        until(lambda: step(run) >= 5, "five steps")
        cancel_run(run)
    assert (run.state, run.error) == (Run.State.CANCELLED, "")
    assert (run.folder / "checkpoint").is_dir()
    first = run.launch["name"]
    assert cluster.commands("cancel") == [[first]]
    resume_run(run)
    execute(run)
    assert_done_once(run, cluster, submits=2)
    assert run.launch["name"] != first
    assert events(run, "start")[-1]["resumed_from"] >= 5


def test_a_run_that_is_cancelled_while_its_job_waits_never_starts(
    start: Callable[..., Run], cluster: Cluster
) -> None:
    cluster.mode(delay=600)
    run = start()
    with executing(run):
        until(lambda: Run.objects.get(pk=run.pk).launch.get("submitted"), "the job is submitted")
        cancel_run(run)
    assert run.state == Run.State.CANCELLED
    assert not (run.folder / "events.jsonl").exists()
    assert (cluster.state / f"{run.launch['name']}.0.job").read_text() == "CANCELLED"


def test_another_worker_follows_the_job_of_one_that_was_killed(
    start: Callable[..., Run], cluster: Cluster, warm_core: dict[str, str]
) -> None:
    run = start(LONG)
    worker = {"LAUNCHER": str(cluster.file), **warm_core}
    with process("trainer", **worker) as trainer:
        until(lambda: step(run) >= 5, "five steps")
        kill(trainer)
    assert Run.objects.get(pk=run.pk).state == Run.State.RUNNING
    with process("worker"), process("trainer", **worker):
        until(lambda: over(run), "the run ends")
    assert_done_once(run, cluster)
    assert run.attempt == 1
    assert len(events(run, "start")) == 1
    assert run.step == run.total


@pytest.mark.parametrize("was_submitted", [True, False])
def test_a_job_that_may_have_been_submitted_is_looked_up_first(
    start: Callable[..., Run], cluster: Cluster, *, was_submitted: bool
) -> None:
    """The worker died between the row and the scheduler, or between the scheduler and the row."""
    run = start()
    lost = claim_run(run.pk)
    assert lost is not None
    write_job(lost)
    record_launch(lost, name="palate-lost", offset=0, submitted=False)
    if was_submitted:
        write_launch(lost.folder, Launch("palate-lost", 1, 1, {}))
        settings.LAUNCHER.submit_job(lost.folder, tasks.run_resources(lost), "palate-lost")
    Run.objects.filter(pk=run.pk).update(heartbeat_at="2020-01-01T00:00Z")
    execute(run)
    assert_done_once(run, cluster)
    assert run.launch == {"name": "palate-lost", "offset": 0, "submitted": True}


def test_a_quick_job_counts_as_submitted_before_its_first_line(cluster: Cluster, tmp_path: Path) -> None:
    """The scheduler has answered, but the job's lines are read first."""
    cluster.mode(forget=True)
    (folder := tmp_path / "job").mkdir()
    job = ScheduledJob(
        settings.LAUNCHER, folder, "quick", Resources(),
        offset=0, submitted=False, may_be_submitted=False, environment={},
    )  # fmt: skip
    assert job.poll(0) == []
    assert job._answer is not None
    assert job._answer.result(HANGS_S) == [SUBMITTED]
    (folder / "events.jsonl").write_text('{"event": "start"}\n')
    assert [json.loads(line)["event"] for line in job.poll(0) or []] == ["submitted", "start"]
    job.detach()


def test_an_answer_that_was_lost_is_no_second_submit(start: Callable[..., Run], cluster: Cluster) -> None:
    cluster.mode(lose_answer=True, delay=0.5)
    assert_done_once(execute(start()), cluster)


def test_a_refused_job_fails_the_run_with_what_the_scheduler_said(
    start: Callable[..., Run], cluster: Cluster
) -> None:
    cluster.mode(refuse=True)
    run = execute(start())
    assert run.state == Run.State.FAILED
    assert run.error.startswith("The scheduler refused the job: ")
    assert "invalid partition" in run.error
    assert not ModelVersion.objects.filter(run=run).exists()
    cluster.mode()
    resume_run(run)
    assert_done_once(execute(run), cluster, submits=2)


def test_a_job_that_the_scheduler_forgets_fails_the_run_which_can_be_resumed(
    start: Callable[..., Run], cluster: Cluster
) -> None:
    cluster.mode(forget=True)
    run = execute(start())
    assert run.state == Run.State.FAILED
    assert "the scheduler has lost it" in run.error
    assert run.launch["name"] in run.error
    cluster.mode()
    resume_run(run)
    assert_done_once(execute(run), cluster, submits=2)


def test_a_job_that_is_started_twice_is_done_once(start: Callable[..., Run], cluster: Cluster) -> None:
    cluster.mode(twice=True)
    run = execute(start(LONG))
    assert_done_once(run, cluster)
    assert len(events(run, "start")) == 1
    until(lambda: cluster.output.count("it was started twice") == 1, "the second start gives up")
    assert len(events(run, "done")) == 1


def test_a_scheduler_that_is_down_or_answers_nonsense_is_asked_again(
    start: Callable[..., Run], cluster: Cluster
) -> None:
    run = start()
    cluster.mode(down=True)
    with executing(run):
        until(lambda: len(cluster.commands("status")) >= 3, "it is asked")
        cluster.mode(delay=3, nonsense=True)
        until(lambda: any("Bad Gateway" in text for text in Run.objects.get(pk=run.pk).warnings), "a warning")
        cluster.mode()
    assert (run.state, run.error) == (Run.State.DONE, "")
    assert ModelVersion.objects.filter(run=run).count() == 1
    assert "cannot reach the controller" in run.warnings[0]


def test_a_job_that_was_killed_fails_the_run_which_continues_from_its_checkpoint(
    start: Callable[..., Run], cluster: Cluster
) -> None:
    run = start(LONG)
    with executing(run):
        until(lambda: step(run) >= 10, "ten steps")
        kill_everything_in(run.folder)
    assert run.state == Run.State.FAILED
    assert "ended without a result" in run.error
    with (run.folder / "events.jsonl").open("a") as half_a_line:
        half_a_line.write('{"event": "prog')
    resume_run(run)
    execute(run)
    assert (run.state, run.error) == (Run.State.DONE, "")
    assert run.step == run.total


def kill_everything_in(folder: Path) -> None:
    """kill -9 for all programs that work on a job directory, as when a machine is lost: none has time to notice another's end."""
    pids = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = command.read_bytes()
            if str(folder).encode() in words and b"fake_scheduler" not in words:
                pids.append(int(command.parent.name))
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, number)


def test_a_job_that_its_scheduler_stops_is_submitted_again(
    start: Callable[..., Run], cluster: Cluster
) -> None:
    """It was preempted, or its time is over."""
    run = start(LONG)
    with executing(run):
        until(lambda: step(run) >= 5, "five steps")
        settings.LAUNCHER.cancel_job(Run.objects.get(pk=run.pk).launch["name"])
    assert (run.state, run.launch) == (Run.State.QUEUED, {})
    execute(run)
    assert (run.state, run.error) == (Run.State.DONE, "")
    assert events(run, "start")[-1]["resumed_from"] >= 5


def test_a_job_of_an_earlier_attempt_that_starts_late_touches_nothing(
    start: Callable[..., Run], cluster: Cluster
) -> None:
    run = start()
    run.folder.mkdir(parents=True)

    def node(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "training.launch.node", str(run.folder), name],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    late = node("palate-early")  # before there is any
    write_launch(run.folder, Launch("palate-later", 1, 1, {}))
    for done in (late, node("palate-early")):
        assert done.returncode == 0
        assert "another one has taken its place" in done.stderr
    write_launch(run.folder, Launch("palate-later", 1, 1, {}, stop=True))
    assert "was cancelled" in node("palate-later").stderr
    assert [path.name for path in run.folder.iterdir()] == ["launch.json"]
    assert read_launch(run.folder) == Launch("palate-later", 1, 1, {}, stop=True)
