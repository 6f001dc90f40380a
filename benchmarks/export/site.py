"""A site of its own for the benchmark, filled by SQL: servers, a web process, and a meter of their cost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workloads import PLACE, ROOT

FOLDER = PLACE / "export-site"
PORT = 18791
TICK = os.sysconf("SC_CLK_TCK")


def environment() -> dict[str, str]:
    return os.environ | {
        "PALATE_VAR": str(FOLDER),
        "EMBEDDED_DURABLE": "0",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "LOG_LEVEL": "WARNING",
        "API_CALLS_PER_MINUTE": "0",
        "MAX_IMPORT_BYTES": str(2**31),
    }


def manage(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(),
        check=True,
        text=True,
        input=text,
        capture_output=True,
    )
    return done.stdout


FILL = """
from django.db import connection
from annotation.actions.projects import create_project
from annotation.models import *
alice = User.objects.create(username="alice", password="!", is_staff=True)
for slug, prompts in (("small", {small}), ("large", {large})):
    project = create_project(project=Project(name=slug, k=7), guideline="Prefer the better one.", creator=alice)
    author = Author.objects.create(project=project, kind="imported", name="bulk")
    with connection.cursor() as cursor:
        for statement in open({statements!r}).read().split(";\\n"):
            if statement.strip():
                cursor.execute(statement, {{"project": project.pk, "author": author.pk, "me": alice.pk,
                                           "prompts": prompts, "name": slug}})
with connection.cursor() as cursor:
    cursor.execute("VACUUM ANALYZE")
create_project(project=Project(name="empty", k=4), guideline="Prefer the better one.", creator=alice)
print("TOKEN", ApiToken.issue(user=alice, name="bench", scope="lead")[1])
"""


def create_site(pairs: int, *, few: int = 10_000) -> str:
    """Two projects of 7-way rankings, of `few` and of `pairs` pairs, and an empty one, in a new database. Returns a token of
    their lead."""
    stop()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    manage("migrate", "--verbosity", "0")
    statements = str(Path(__file__).with_name("fill.sql"))
    code = FILL.format(small=-(-few // 21), large=-(-pairs // 21), statements=statements)
    out = manage("shell", "--no-imports", "--command", code)
    return out.partition("TOKEN ")[2].split()[0]


@contextmanager
def web() -> Iterator[int]:
    """The web process while the context lasts; yields its id."""
    log = (FOLDER / "web.log").open("a")
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "uvicorn",
            "config.asgi:application",
            "--port",
            str(PORT),
            "--log-level",
            "warning",
        ],
        cwd=ROOT,
        env=environment(),
        stdout=log,
        stderr=log,
    )
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5):
                    break
            except OSError:
                time.sleep(0.2)
        yield child.pid
    finally:
        child.terminate()
        child.wait(20)


def stop() -> None:
    subprocess.run(
        [sys.executable, "-m", "config.embedded", "stop"], cwd=ROOT, env=environment(), check=False
    )


@dataclass
class Meter:
    """CPU seconds of processes and of what they started, and their memory."""

    roots: list[int]

    def cpu_s(self) -> float:
        total = 0
        for pid in self._all():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            # its own time, and that of its children that have ended
            total += sum(int(field) for field in fields[11:15])
        return total / TICK

    def peak_mb(self) -> float:
        return sum(_status(pid, "VmHWM") for pid in self._all()) / 1024

    def reset_peak(self) -> None:
        for pid in self._all():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def rss_mb(self) -> float:
        return sum(_status(pid, "VmRSS") for pid in self._all()) / 1024

    def _all(self) -> list[int]:
        pids = list(self.roots)
        for pid in pids:
            try:
                pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                continue
        return pids


def _status(pid: int, name: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/status").read_text().partition(f"{name}:")[2].split()[0])
    except (OSError, IndexError):
        return 0


def postmaster() -> int:
    """The id of the database's first process."""
    return int(next(FOLDER.glob("*/postmaster.pid")).read_text().split()[0])
