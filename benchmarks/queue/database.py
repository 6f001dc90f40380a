"""The servers of the benchmark, PostgreSQL and Valkey, with flushing to disk on, and a database for each side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.queue import machine
from benchmarks.workloads import PLACE
from config.embedded import Embedded

FOLDER = PLACE / "queue"


class Servers:
    """Both servers, pinned to one core; they run until `stop`."""

    def __init__(self, core: int) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.embedded = Embedded(FOLDER, durable=True)
        self.embedded.start()
        self.postmaster = int(next(FOLDER.glob("*/postmaster.pid")).read_text().split()[0])
        self.valkey = int((FOLDER / "valkey.pid").read_text())
        for root in (self.postmaster, self.valkey):
            for pid in machine.tree(root):
                machine.pin(core, pid)

    def stop(self) -> None:
        self.embedded.stop()

    def database(self, name: str) -> Database:
        """A new, empty database of this name."""
        server = Database(self.embedded, "palate")
        server.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.ask(f"CREATE DATABASE {name}")
        return Database(self.embedded, name)


@dataclass(frozen=True)
class Database:
    embedded: Embedded
    name: str

    @property
    def host(self) -> Path:
        return self.embedded.sockets

    def environment(self) -> dict[str, str]:
        """What a site of ours needs, to work on it."""
        return {
            "DATABASE_URL": f"{self.embedded.database_url.rpartition('/')[0]}/{self.name}",
            "REDIS_URL": self.embedded.redis_url,
            "PALATE_VAR": str(FOLDER),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "LOG_LEVEL": "WARNING",
        }

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """Run one statement; returns its rows, if it has any."""
        with psycopg.connect(
            host=str(self.host), user="postgres", dbname=self.name, autocommit=True
        ) as connection:
            found = connection.execute(statement)  # type: ignore[arg-type]
            return found.fetchall() if found.description else []
