"""The site's own processes, started for tests on the test database."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from django.conf import settings
from django.db import connection

from config.processes import commands
from tests.patience import HANGS_S

MODEL_DIRS = [tempfile.gettempdir(), *settings.MODEL_DIRS]


def free_port() -> int:
    """A port that nobody listens at, below those that the system gives to connections."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environment() -> dict[str, str]:
    """This process's environment, with the test database in place of the site's own."""
    url = settings.EMBEDDED.database_url if settings.EMBEDDED else os.environ["DATABASE_URL"]
    return os.environ | {
        "DATABASE_URL": f"{url.rpartition('/')[0]}/{connection.settings_dict['NAME']}",
        "ARTIFACTS": str(settings.ARTIFACTS),
        "RUN_STALE_S": "10",  # a busy machine is no dead worker
        "RUN_HEARTBEAT_S": "0.5",
        "MODEL_DIRS": ",".join(MODEL_DIRS),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }


@contextmanager
def process(name: str, *, port: int = 0, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of the site's processes (`web`, `worker`, `trainer`), while the context lasts."""
    log = settings.VAR / f"{name}-of-tests.log"
    with log.open("a") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", *commands(port)[name]],
            cwd=settings.BASE_DIR,
            env=environment() | extra,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        kill(child)


def kill(child: subprocess.Popen[bytes]) -> None:
    """kill -9 for a process and the children in its group."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def until(happened: Callable[[], object], what: str, seconds: float = HANGS_S) -> None:
    """Wait for something; says what did not happen."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
