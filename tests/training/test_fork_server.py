"""Runs that are forked from a process with the core imported, by the real core."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import HANGS_S
from tests.processes import until
from training.launch.child import ROOT, core_command, start_core
from training.launch.forked_process import LOST, ForkedProcess
from training.launch.local_job import LocalJob

pytestmark = [pytest.mark.live, pytest.mark.slow(30)]
TEXT = {"text": "the ferry leaves at nine and costs twelve crowns please ask again thank you kindly " * 4}


@pytest.fixture
def server(warm_core: dict[str, str]) -> str:
    return warm_core["WARM_CORE"]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A run of many steps."""
    folder = tmp_path / "job"
    folder.mkdir()
    config = {"hidden_size": 16, "intermediate_size": 32, "layers": 1, "heads": 2, "kv_heads": 2}
    config |= {"vocab_size": 270, "block_length": 16, "max_length": 64, "max_steps": 100_000, "threads": 1}
    (folder / "job.json").write_text(json.dumps({"kind": "pretrain", "config": config}))
    (folder / "data.jsonl").write_text(f"{json.dumps(TEXT)}\n" * 20)
    return folder


def shorten(job: Path) -> None:
    text = json.loads((job / "job.json").read_text())
    text["config"]["max_steps"] = 3
    (job / "job.json").write_text(json.dumps(text))


def start(job: Path, server: str) -> LocalJob:
    return LocalJob(job, core_command(job, 1), locks=[], environment={}, fork_server=server)


def read(run: LocalJob, event: str = "") -> list[dict[str, object]]:
    """Its events, to the end or to the first of a name."""
    events: list[dict[str, object]] = []
    end = time.monotonic() + HANGS_S
    while (lines := run.poll(1.0)) is not None:
        events += map(json.loads, lines)
        if event and any(row["event"] == event for row in events):
            break
        assert time.monotonic() < end, events
    return events


def pid_of(run: LocalJob) -> int:
    assert isinstance(run._child, ForkedProcess)
    return run._child.pid


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_run_ends_by_itself(job: Path, server: str) -> None:
    shorten(job)
    run = start(job, server)
    events = read(run)
    assert run.wait() == 0
    assert events[-1]["event"] == "done"
    assert (job / "output" / "model.safetensors").exists()
    assert (job / "events.jsonl").read_text().count("\n") == len(events)


def test_its_errors_are_its_own(job: Path, server: str) -> None:
    (job / "data.jsonl").unlink()
    run = start(job, server)
    assert "data.jsonl" in str(read(run)[-1]["message"])
    assert run.wait() == 2


def test_a_cancelled_run_writes_a_checkpoint(job: Path, server: str) -> None:
    run = start(job, server)
    read(run, "progress")
    run.cancel()
    assert read(run)[-1]["event"] == "stopped"
    assert run.wait() == 3
    assert (job / "checkpoint").exists()


def test_a_run_that_is_detached_is_killed(job: Path, server: str) -> None:
    run = start(job, server)
    pid = pid_of(run)
    read(run, "progress")
    run.detach()
    until(lambda: not is_alive(pid), "it has ended")


def test_it_inherits_locks(job: Path, server: str, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with lock.open("w") as held, (job / "log.txt").open("ab") as log:
        process = start_core(
            core_command(job, 1),
            locks=[held.fileno()],
            stdout=log,
            stderr=log,
            environment={},
            fork_server=server,
        )
        links = {os.readlink(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()}  # noqa: PTH115
        assert str(lock) in links
    process.kill()
    assert process.wait(HANGS_S) == -signal.SIGKILL


WORKER = """
import sys, time
from pathlib import Path
from training.launch.child import core_command
from training.launch.local_job import LocalJob
job = Path(sys.argv[1])
run = LocalJob(job, core_command(job, 1), locks=[], environment={}, fork_server=sys.argv[2])
print(run._child.pid, flush=True)
while b"progress" not in b"".join(run.poll(1.0)):
    pass
print("it works", flush=True)
time.sleep(600)
"""


def test_the_run_of_a_killed_worker_writes_a_checkpoint_and_ends(job: Path, server: str) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(job), server], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    assert worker.stdout.readline() == "it works\n"
    worker.kill()
    worker.wait()
    until(lambda: not is_alive(pid), "it has ended")
    assert (job / "checkpoint").exists()


def test_who_says_nothing_or_stops_in_the_middle_blocks_nobody(job: Path, server: str) -> None:
    shorten(job)
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as slow:
        silent.connect(server)
        slow.connect(server)
        socket.send_fds(slow, [struct.pack("!I", 100)], [silent.fileno()])
        slow.sendall(b"{")
        run = start(job, server)
        assert isinstance(run._child, ForkedProcess)
        read(run)
        assert run.wait() == 0
        slow.settimeout(HANGS_S)
        assert slow.recv(1) == b""


@pytest.fixture
def own_server(
    tmp_path_factory: pytest.TempPathFactory, job: Path
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    address = f"/tmp/palate-{os.getpid()}.sock"
    child = subprocess.Popen(
        [sys.executable, "-m", "training.core.fork_server", address], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    yield child, address
    child.kill()
    child.wait()
    Path(address).unlink(missing_ok=True)


def test_a_fork_server_that_dies_ends_its_runs_and_is_not_needed(
    job: Path, own_server: tuple[subprocess.Popen[bytes], str]
) -> None:
    child, address = own_server
    run = start(job, address)
    pid = pid_of(run)
    read(run, "progress")
    child.kill()
    read(run)
    assert run.wait() == LOST
    until(lambda: not is_alive(pid), "it has ended")
    assert (job / "checkpoint").exists()
    shorten(job)
    again = start(job, address)  # by itself
    assert not isinstance(again._child, ForkedProcess)
    read(again)
    assert again.wait() == 0
