"""Starts and supervises the site's processes on one machine: web server, and Celery workers for short tasks, figures,
imports, snapshots, webhooks and runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders

from config.embedded import EmbeddedError

CELERY = [
    "celery",
    "--app",
    "config",
    "--quiet",
    "worker",
    "--without-gossip",
    "--without-mingle",
]


CHECK_S, SERVERS_CHECK_S = 0.5, 3
QUICK_S = 30
STOP_S = 40  # a trainer stops once its runs have written their checkpoints
MAX_ENDS = 5

END_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
"""
"""Becomes a module's program, which Linux ends when the thread that started it ends, whose process may have been killed
(PR_SET_PDEATHSIG). Not a `preexec_fn`: that is unsafe in a process with threads."""


class StartError(RuntimeError):
    """The site could not be started, or not be kept running; the message says what to do."""


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
        "--timeout-graceful-shutdown",
        "20",
        "--no-proxy-headers",  # `config.proxies` reads them
    ]
    trainers, chats = str(max(2, settings.GPUS)), str(settings.CHATS_AT_ONCE)
    return {
        "web": web,
        "worker": [*CELERY, "--beat", "--queues", "default", "--concurrency", "1", "--hostname", "worker@%h"],
        # these can be slow: queues of their own, so that nothing else waits for them
        "counter": [*CELERY, "--queues", "figures", "--concurrency", "1", "--hostname", "counter@%h"],
        "importer": [*CELERY, "--queues", "imports", "--concurrency", "1", "--hostname", "importer@%h"],
        "archiver": [*CELERY, "--queues", "jobs", "--concurrency", "1", "--hostname", "archiver@%h"],
        "sender": [*CELERY, "--queues", "webhooks", "--concurrency", "1", "--hostname", "sender@%h"],
        # each answer is waited for in a thread; the models are in programs of their own
        "chat": [
            *CELERY,
            "--queues",
            "chats",
            "--pool",
            "threads",
            "--concurrency",
            chats,
            "--hostname",
            "chat@%h",
        ],
        "trainer": [*CELERY, "--queues", "gpu", "--concurrency", trainers, "--hostname", "trainer@%h"],
    }


STATIC_ENVIRONMENT = {"STATIC_COLLECTED": "1"}


def collect_static() -> None:
    """Collect and compress styles and scripts, for a web process with `STATIC_ENVIRONMENT` in its environment. Does nothing if
    those that were collected last are still the same.

    Raises:
        StartError: it failed.
    """
    collected = settings.STATIC_ROOT / "sources.sha256"
    with (settings.STATIC_ROOT / "sources.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two sites may have one folder
        sources = static_sources_sha256()
        if collected.exists() and collected.read_text() == sources:
            return
        collected.unlink(missing_ok=True)
        command = [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"]
        done = subprocess.run(
            command,
            cwd=settings.BASE_DIR,
            env=os.environ | STATIC_ENVIRONMENT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise StartError(f"Styles and scripts could not be collected: {done.stderr.strip()[-500:]}")
        collected.write_text(sources)


def static_sources_sha256() -> str:
    """The SHA-256 of the paths, sizes and times of change of all files that are collected, and of the module that stores them."""
    files = [storage.path(name) for finder in get_finders() for name, storage in finder.list([])]
    digest = hashlib.sha256()
    for path in [*map(Path, files), settings.BASE_DIR / "config" / "static_files.py"]:
        status = path.stat()
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@contextmanager
def site(port: int) -> Iterator[str]:
    """Run the whole site while the context lasts; yields its address. What the processes print goes to `var/log`. A process
    that ends is started again; if it keeps ending, the caller gets a SIGINT, and the context ends with the error.

    Raises:
        StartError: the port is taken, or a process ended at once or too often.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise StartError(f"Port {port} is taken. Choose another one: PORT={port + 1}") from None
    for counts in settings.METRICS_DIR.glob("*.db"):
        if not _is_alive(counts.stem.rpartition("_")[2]):
            counts.unlink()
    logs = Path(settings.VAR) / "log"
    logs.mkdir(exist_ok=True)
    collect_static()
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="palate-") as folder:  # a socket's path must be short
        forks = {"FORK_SERVER": f"{folder}/core"} if _can_fork_runs() else {}
        processes = [
            SupervisedProcess(name, command, logs, forks) for name, command in commands(port).items()
        ]
        supervisor = Supervisor(processes)
        try:
            for process in processes:
                process.start()
            _wait_for(address, processes)
            if forks:  # after the pages, for which people wait
                server = SupervisedProcess("core", ["training.core.fork_server", forks["FORK_SERVER"]], logs)
                server.start()
                processes.append(server)
            supervisor.start()
            yield address
        finally:
            supervisor.stop()
            stop(*(process.child for process in processes if process.child))
            if supervisor.error:
                raise supervisor.error


def _can_fork_runs() -> bool:
    """Whether runs can be forked from a process that has torch imported: one that has used a GPU cannot be forked."""
    if settings.GPUS or settings.LAUNCHER or settings.FORK_SERVER:
        return False
    return sys.platform == "linux" and find_spec("torch") is not None


class SupervisedProcess:
    """One process of the site. Its output goes to a file of its own."""

    def __init__(
        self, name: str, command: list[str], logs: Path, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.name, self.command, self.log = name, command, logs / f"{name}.log"
        self.environment = environment
        self.child: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.restart_at: float | None = None
        self.quick_ends = 0  # in a row

    def start(self) -> None:
        if self.child is not None:
            with suppress(ProcessLookupError):  # what the one that ended has left
                os.killpg(self.child.pid, signal.SIGKILL)
        self.started_at, self.restart_at = time.monotonic(), None
        with self.log.open("a") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-c", END_WITH_PARENT, *self.command],
                cwd=settings.BASE_DIR,
                env=os.environ | STATIC_ENVIRONMENT | dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is handled here, so that the workers stop in order
            )

    @property
    def exit_status(self) -> int | None:
        """None while it runs; below 0: the signal that ended it."""
        assert self.child is not None
        return self.child.poll()

    def last_lines(self, count: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


class Supervisor(threading.Thread):
    """Starts processes that have ended again: at once, and after growing pauses if they end soon. If one ends `MAX_ENDS` times
    in a row within `QUICK_S`, the whole site ends with an error that has its last lines."""

    def __init__(self, processes: list[SupervisedProcess]) -> None:
        super().__init__(daemon=True)
        self.processes = processes
        self.error: StartError | None = None
        self.servers_checked_at = 0.0
        self._stopped, self._stopping = threading.Event(), threading.Lock()

    def run(self) -> None:
        while not self._stopped.wait(CHECK_S):
            try:
                self._restart_servers()
            except (EmbeddedError, OSError, subprocess.SubprocessError) as error:  # it is tried again
                sys.stderr.write(f"The embedded servers cannot be checked: {error}\n")
            for process in self.processes:
                with self._stopping:
                    if self._stopped.is_set():
                        return
                    self._look_after(process)
                    if self.error:
                        os.kill(os.getpid(), signal.SIGINT)  # wakes whoever runs the site
                        return

    def _restart_servers(self) -> None:
        """Start embedded servers that have ended."""
        if settings.EMBEDDED and time.monotonic() > self.servers_checked_at + SERVERS_CHECK_S:
            self.servers_checked_at = time.monotonic()
            ended = [name for name, runs in settings.EMBEDDED.status().items() if not runs]
            if ended:
                sys.stderr.write(f"The embedded {' and '.join(ended)} has ended; it is started again.\n")
                settings.EMBEDDED.start()

    def _look_after(self, process: SupervisedProcess) -> None:
        """Start the process when its pause is over; if it has just ended, say so and set the pause, or the error."""
        if process.restart_at is not None:
            if time.monotonic() >= process.restart_at:
                process.start()
            return
        status = process.exit_status
        if status is None:
            return
        quick = time.monotonic() - process.started_at < QUICK_S
        process.quick_ends = process.quick_ends + 1 if quick else 0
        if process.quick_ends >= MAX_ENDS:
            self.error = StartError(
                f"The {process.name} process ended {MAX_ENDS} times within {QUICK_S} seconds of its start. The last lines of"
                f" {process.log}:\n{process.last_lines()}"
            )
            return
        pause = 2.0 ** max(0, process.quick_ends - 1) - 1
        sys.stderr.write(
            f"The {process.name} process has ended (exit status {status}); it is started again in {pause:g} s.\n"
        )
        process.restart_at = time.monotonic() + pause

    def stop(self) -> None:
        with self._stopping:  # no SIGINT comes after this
            self._stopped.set()
        if self.is_alive():
            self.join()


def stop(*processes: subprocess.Popen[bytes]) -> None:
    """Terminate processes; kill those that run after `STOP_S`."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + STOP_S
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0, until - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _wait_for(address: str, processes: list[SupervisedProcess]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for process in processes:
            if process.exit_status is not None:
                raise StartError(f"The {process.name} process ended at once: see {process.log}")
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise StartError(f"The web process does not answer: see {processes[0].log}")
