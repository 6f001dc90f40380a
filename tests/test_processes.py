"""Which process does what."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from django.conf import settings

from config.processes import commands
from tests.processes import free_port, until


def served(name: str) -> list[str]:
    """The queues that a process serves."""
    command = commands(0)[name]
    return command[command.index("--queues") + 1].split(",") if "--queues" in command else []


def test_every_queue_has_its_process() -> None:
    queues = {settings.CELERY_TASK_DEFAULT_QUEUE, *(r["queue"] for r in settings.CELERY_TASK_ROUTES.values())}
    assert queues == {queue for name in commands(0) for queue in served(name)}


def test_the_clock_s_small_work_waits_for_no_import_and_no_webhook() -> None:
    small = served("worker")
    for task in ("annotation.tasks.read_import", "annotation.tasks.sweep_webhooks"):
        assert settings.CELERY_TASK_ROUTES[task]["queue"] not in small
    assert len({str(served(name)) for name in ("importer", "archiver", "sender")}) == 3


@pytest.mark.live
@pytest.mark.slow(25)
def test_what_dies_is_started_again_and_what_keeps_dying_ends_the_site(tmp_path: Path) -> None:
    port, output = free_port(), tmp_path / "output"
    shared = ("DATABASE_URL", "REDIS_URL", "STATIC_ROOT")
    environment = {name: value for name, value in os.environ.items() if name not in shared}
    with output.open("w") as file:
        served = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", str(port)],
            cwd=settings.BASE_DIR,
            env=environment | {"PALATE_VAR": str(tmp_path / "var"), "EMBEDDED_DURABLE": "0"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: answers(port) or served.poll() is not None, "the site answers")
        assert served.poll() is None, output.read_text()
        for name in ("uvicorn", "--beat", "--queues imports"):
            first = pid_of(served.pid, name)
            os.kill(first, signal.SIGKILL)
            until(
                lambda first=first, name=name: pid_of(served.pid, name) not in (0, first),
                f"{name} is started again",
            )
        until(lambda: answers(port), "the site answers again")
        valkey = int((tmp_path / "var" / "valkey.pid").read_text())
        os.kill(valkey, signal.SIGKILL)
        until(lambda: answers(port, "/readyz"), "Valkey is started again")

        def kill_sender() -> bool:
            if pid := pid_of(served.pid, "--queues webhooks"):
                os.kill(pid, signal.SIGKILL)
            return served.poll() is not None

        until(kill_sender, "the site ends")
        assert served.returncode == 1
        said = output.read_text()
        assert "The web process has ended (exit status -9); it is started again in 0 s." in said
        assert "The sender process ended 5 times within 30 seconds of its start. The last lines of" in said
        assert not answers(port)
    finally:
        served.terminate()
        served.wait()
        embedded = [sys.executable, "-m", "config.embedded", "stop"]
        subprocess.run(
            embedded,
            cwd=settings.BASE_DIR,
            env=environment | {"PALATE_VAR": str(tmp_path / "var")},
            check=True,
        )


def answers(port: int, path: str = "/sign-in/") -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).status == 200)
    except OSError:
        return False


def pid_of(parent: int, words: str) -> int:
    """The child of a process whose command line has these words; 0 if there is none."""
    for child in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in child.read_text().split():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has just ended
            if words in command:
                return int(pid)
    return 0
