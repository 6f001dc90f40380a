"""The site's own processes, started for tests on the test database, and forked where that is quicker: see `warm_site`."""

from __future__ import annotations

import atexit
import functools
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings
from django.db import connection

from config.processes import commands
from tests.patience import HANGS_S
from tests.warm.environment_server import server_address
from training.launch.forked_process import ForkedProcess

WARM = Path(__file__).parent / "warm"
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


class SiteProcess(ForkedProcess):
    """A process of the site, in a session of its own; killed when this one ends."""

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self.returncode is None and select.select([self._server], [], [], 0)[0]:
            self.wait()
        return self.returncode


@functools.cache
def warm_site() -> str:
    """The socket of a process that has the site's imports done and forks its processes, until this one ends."""
    folder = tempfile.TemporaryDirectory(prefix="palate-")  # a socket's path must be short
    server = subprocess.Popen(
        [sys.executable, "-P", WARM / "warm_site.py", f"{folder.name}/site"],
        cwd=settings.BASE_DIR,
        env=os.environ | {"PYTHONPATH": str(settings.BASE_DIR), "DJANGO_SETTINGS_MODULE": "config.settings"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"

    @atexit.register
    def end() -> None:
        server.kill()
        server.wait()
        folder.cleanup()

    return f"{folder.name}/site"


def start(command: list[str], environment: Mapping[str, str], log: Path) -> SiteProcess:
    """What `python -m` starts with the command, in the site's folder; what it prints is added to the log."""
    with log.open("ab") as file, Path(os.devnull).open("rb") as nothing:
        return SiteProcess(
            server_address(warm_site(), command[0], environment, settings.BASE_DIR),
            command[0],
            command[1:],
            folder=settings.BASE_DIR,
            environment=environment,
            files={0: nothing.fileno(), 1: file.fileno(), 2: file.fileno()},
            hangup=signal.SIGKILL,
        )


@contextmanager
def process(name: str, *, port: int = 0, **extra: str) -> Iterator[SiteProcess]:
    """One of the site's processes (`web`, `worker`, `trainer`), while the context lasts."""
    child = start(commands(port)[name], environment() | extra, settings.VAR / f"{name}-of-tests.log")
    try:
        yield child
    finally:
        kill(child)


def kill(child: SiteProcess) -> None:
    """kill -9 for a process and the children in its group."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended, or leads no group yet
        child.kill()
    child.wait()


def until(happened: Callable[[], object], what: str, seconds: float = HANGS_S) -> None:
    """Wait for something; says what did not happen."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
