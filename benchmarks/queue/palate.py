"""Palate, as `config.processes` serves it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from benchmarks.queue import machine
from benchmarks.queue.annotators import PASSWORD, PalateAnnotator
from benchmarks.queue.database import Database
from benchmarks.workloads import ROOT


class Site:
    """Its web process while it runs, and people at it."""

    def __init__(self, database: Database, items: int, people: int) -> None:
        self.database, self.people, self.port = database, people, machine.free_port()
        self._run("manage.py", "collectstatic", "--no-input", "--verbosity", "0")
        self._run("-m", "benchmarks.queue.seed", str(items), str(people))

    def environment(self) -> dict[str, str]:
        return os.environ | self.database.environment() | {"STATIC_COLLECTED": "1"}

    def command(self) -> list[str]:
        from config.processes import commands

        return [sys.executable, "-m", *commands(self.port)["web"]]

    def annotators(self) -> list[Any]:
        return [
            PalateAnnotator(self.port, f"person-{n}", PASSWORD, "/p/queue/work/")
            for n in range(1, self.people)
        ]

    def queries_per_cycle(self) -> int:
        """Statements of one submit with the next item, as Django counts them."""
        return int(self._run("-m", "benchmarks.queue.queries"))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment(),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout
