"""Starts the site's processes on one machine: web server, and Celery workers for short tasks, imports, webhooks and runs."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from django.conf import settings

CELERY = [
    "celery",
    "--app",
    "config",
    "--quiet",
    "worker",
    "--loglevel",
    "INFO",
    "--without-gossip",
    "--without-mingle",
]


class StartError(RuntimeError):
    """The site could not be started; the message says what to do."""


def commands(port: int) -> dict[str, list[str]]:
    """Command lines by process name."""
    web = [
        "uvicorn",
        "config.asgi:application",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    if "FORWARDED_ALLOW_IPS" not in os.environ:
        # whoever connects from this machine could say that they are somebody else
        web.append("--no-proxy-headers")
    return {
        "web": web,
        "worker": [*CELERY, "--beat", "--queues", "default", "--concurrency", "1", "--hostname", "worker@%h"],
        # imports and webhooks can be slow: queues of their own, so that nothing else waits for them
        "importer": [*CELERY, "--queues", "imports", "--concurrency", "1", "--hostname", "importer@%h"],
        "sender": [*CELERY, "--queues", "webhooks", "--concurrency", "1", "--hostname", "sender@%h"],
        "trainer": [*CELERY, "--queues", "gpu", "--concurrency", "2", "--hostname", "trainer@%h"],
    }


STATIC_ENVIRONMENT = {"STATIC_COLLECTED": "1"}


def collect_static() -> None:
    """Collect and compress styles and scripts, for a web process with `STATIC_ENVIRONMENT` in its environment.

    Raises:
        StartError: it failed.
    """
    command = [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"]
    done = subprocess.run(
        command, cwd=settings.BASE_DIR, env=os.environ | STATIC_ENVIRONMENT, capture_output=True, text=True
    )
    if done.returncode:
        raise StartError(f"Styles and scripts could not be collected: {done.stderr.strip()[-500:]}")


@contextmanager
def site(port: int) -> Iterator[str]:
    """Run the whole site while the context lasts; yields its address. What the processes print goes to `var/log`.

    Raises:
        StartError: the port is taken, or a process ended at once.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise StartError(f"Port {port} is taken. Choose another one: PORT={port + 1}") from None
    logs = Path(settings.VAR) / "log"
    logs.mkdir(exist_ok=True)
    collect_static()
    address = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        running = {}
        for name, command in commands(port).items():
            log = stack.enter_context((logs / f"{name}.log").open("a"))
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=settings.BASE_DIR,
                env=os.environ | STATIC_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is handled here, so that the workers stop in order
                preexec_fn=_end_with_parent,
            )
            running[name] = process
            stack.callback(stop, process)
        _wait_for(address, running, logs)
        yield address


def stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process; kill it after ten seconds."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end_with_parent() -> None:
    """Linux ends the process when ours is killed (prctl, PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _wait_for(address: str, running: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for name, process in running.items():
            if process.poll() is not None:
                raise StartError(f"The {name} process ended at once: see {logs / name}.log")
        try:
            with urllib.request.urlopen(f"{address}/healthz", timeout=5):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise StartError(f"The web process does not answer: see {logs}/web.log")
