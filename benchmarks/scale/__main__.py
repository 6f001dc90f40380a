"""Every page and API list at two sizes, the larger one ten times the other: `make bench-scale`.

    python -m benchmarks.scale [--items 300000] [--server postgres://…]

Each size has a database of its own, filled once: by default in an embedded PostgreSQL, else on the server named, where the
databases palate_scale_… are created. An item has five judgments. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

import psycopg

from benchmarks import results
from benchmarks.scale.figures import summary
from benchmarks.workloads import PLACE, ROOT
from config.embedded import Embedded

FOLDER = PLACE / "scale"


class Site:
    """A database of one size, and the environment of the processes that work on it."""

    def __init__(self, servers: Embedded, server: str, items: int) -> None:
        self.items, self.name = items, f"palate_scale_{items}"
        self.server = server or servers.database_url.rpartition("/")[0]
        self.world = FOLDER / f"{self.name}.json"
        self.environment = os.environ | {
            "DATABASE_URL": f"{self.server}/{self.name}",
            "REDIS_URL": servers.redis_url,
            "PALATE_VAR": str(FOLDER),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "LOG_LEVEL": "ERROR",
            "API_CALLS_PER_MINUTE": "0",
        }

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(_libpq_url(f"{self.server}/{database}"), autocommit=True) as connection:
            answer = connection.execute(statement)  # type: ignore[arg-type]
            return answer.fetchall() if answer.description else []

    def fill(self) -> None:
        """Create and fill the database, unless it is there."""
        if self.world.exists() and self.ask(f"SELECT 1 FROM pg_database WHERE datname = '{self.name}'"):
            return
        print(f"filling {self.items:,} items …", flush=True)
        self.ask(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        self.ask(f"CREATE DATABASE {self.name}")
        self.world.write_text(self._run("benchmarks.scale.seed", str(self.items)).splitlines()[-1])

    def walk(self) -> list[dict[str, Any]]:
        worker = ["celery", "--app", "config", "worker", "--queues", "figures", "--concurrency", "1"]
        command = [sys.executable, "-m", *worker, "--loglevel", "error"]
        with subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL) as counter:
            try:
                lines = self._run("benchmarks.scale.walk", self.world.read_text()).splitlines()
            finally:
                counter.terminate()
        return [json.loads(line) for line in lines]

    def judgments(self) -> int:
        return int(self.ask("SELECT count(*) FROM annotation_judgment", self.name)[0][0])

    def server_jit(self) -> str:
        return str(self.ask("SHOW jit")[0][0])

    def _run(self, module: str, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout


def _libpq_url(url: str) -> str:
    """An URL whose host is a folder, as libpq reads it."""
    scheme, _, rest = url.partition("@/")
    folder, _, database = rest.rpartition("/")
    return f"{scheme}@/{database}?host={folder}" if folder else url


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--server", default="", help="URL of a PostgreSQL server, without a database")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    servers = Embedded(FOLDER)
    servers.start()
    try:
        sites = [
            Site(servers, options.server.rstrip("/"), items) for items in (options.items // 10, options.items)
        ]
        walks = []
        for site in sites:
            site.fill()
            walks.append(site.walk())
        values = {
            "items": [site.items for site in sites],
            "judgments": [site.judgments() for site in sites],
            "pages": walks,
            "server": sites[1].ask("SELECT split_part(version(), ' on ', 1)")[0][0],
            "jit": sites[1].server_jit(),
        }
    finally:
        servers.stop()
    results.save("scale", values | {"about": results.about({})})
    results.write_report()
    print(json.dumps(summary(values)))


if __name__ == "__main__":
    main()
