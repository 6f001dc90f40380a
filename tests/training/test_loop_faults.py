"""A round survives `kill -9` of everything, in every step, and ends as it would have ended.

The site runs on servers of its own, which can be killed without harm to others: web, beat, worker, trainer, Valkey and
PostgreSQL. The same round is played twice, once undisturbed. In the other, whenever the round reaches a step, all of them
are killed, one after another, and started again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from config.embedded import Embedded
from config.processes import CELERY, commands
from tests import processes
from tests.processes import MODEL_DIRS, SiteProcess, free_port

pytestmark = [pytest.mark.live, pytest.mark.slow(120)]

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 600
COMMANDS = {
    "beat": ["celery", "--app", "config", "--quiet", "beat"],
    "worker": [*CELERY, "--queues", "default", "--concurrency", "1", "--hostname", "worker@%h"],
    "trainer": commands(0)["trainer"],
}
PREPARE = """
from django.db.models import F
from annotation.models import ApiToken, Slot
from tests import builders
from tests.training.round_helpers import make_loop, project_with_policy
alice = builders.user("alice", is_staff=True)
project = project_with_policy(alice, "file:{policy}")
Slot.objects.update(random_key=F("item_id") / 1e6)  # in both sites the same is said, in the same order
for _ in range(30):
    builders.judgment(project, alice)
made = make_loop(project, alice, options={{"second_opinion": False, "strategy": "uniform", "budget": 6}})
print("key", ApiToken.issue(user=alice, name="faults", scope=ApiToken.Scope.LEAD)[1], made.pk)
"""


class Refused(Exception):
    """The API said no."""


class Site:
    """A whole site in a folder of its own, every part of which can be killed."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.port, self.more = folder, free_port(), environment
        self.servers = Embedded(folder, durable=True)
        self.processes: dict[str, SiteProcess] = {}
        self.key = self.loop = ""

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
        }
        return (
            kept
            | {
                "PALATE_VAR": str(self.folder),
                "ARTIFACTS": str(self.folder / "artifacts"),
                "EMBEDDED_DURABLE": "1",
                "RUN_STALE_S": "2",
                "RUN_HEARTBEAT_S": "0.5",
                "MODEL_DIRS": ",".join(MODEL_DIRS),
                "HF_HUB_OFFLINE": "1",
                "DJANGO_SETTINGS_MODULE": "config.settings",
            }
            | self.more
        )

    def prepare(self, policy: Path) -> None:
        self.folder.mkdir()
        self.servers.start()
        try:
            self._manage("migrate", "-v", "0")
            said = self._manage("shell", "-c", PREPARE.format(policy=policy))
        finally:
            self.servers.stop()
        self.key, self.loop = next(line for line in said.splitlines() if line.startswith("key ")).split()[1:]

    def copy(self, other: Site) -> None:
        """Be what the other is, which does not run."""
        shutil.copytree(other.folder, self.folder)
        self.key, self.loop = other.key, other.loop

    def begin(self) -> None:
        self.servers.start()
        for name in ("web", *COMMANDS):
            self.start(name)

    def _manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def start(self, name: str) -> None:
        if name in ("valkey", "postgres"):
            self.servers.start()
            return
        command = COMMANDS.get(name) or commands(self.port)["web"]
        self.processes[name] = processes.start(command, self.environment, self.folder / f"{name}.log")

    def kill(self, name: str) -> None:
        """kill -9"""
        if name == "valkey":
            os.kill(int((self.folder / "valkey.pid").read_text()), signal.SIGKILL)
        elif name == "postgres":
            os.kill(int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        else:
            processes.kill(self.processes[name])

    def end(self) -> None:
        for name in self.processes:
            self.kill(name)
        self.servers.stop()

    def ask(self, path: str, body: Any = None) -> Any:
        """The API's answer, however long the web process takes to come back."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except (urllib.error.URLError, OSError) as error:
                if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                    raise Refused(error.read()) from error
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)

    def play(self, at_each_step: Callable[[], None]) -> dict[str, Any]:
        """The round, from its start to its end; its lead promotes whatever comes."""
        round = self.ask(f"loops/{self.loop}/rounds/", {})
        pk, seen = round["id"], None
        end = time.monotonic() + START_TIMEOUT_S
        while round["state"] != "done":
            assert time.monotonic() < end, (round["state"], round["step"], round["error"])
            assert round["state"] != "failed", (round["step"], round["error"])
            if (round["step"], round["state"]) != seen:
                seen = (round["step"], round["state"])
                at_each_step()
            if round["state"] == "held":
                self.try_to(pk, "overrule", {"reason": "Four steps teach nobody to win."})
            if round["state"] == "awaiting":
                self.try_to(pk, "promote", {})
            time.sleep(0.3)
            round = self.ask(f"rounds/{pk}/")
        return dict(round)

    def try_to(self, pk: int, verb: str, body: dict[str, str]) -> None:
        """A request whose answer was lost is sent again: then it finds the round further on."""
        with suppress(Refused):
            self.ask(f"rounds/{pk}/{verb}/", body)

    def outcome(self) -> dict[str, Any]:
        """What must be the same, whoever was killed."""
        with psycopg.connect(host=str(self.servers.sockets), user="postgres", dbname="palate") as database:
            runs = database.execute("SELECT part, state FROM training_run ORDER BY part").fetchall()
            models = database.execute(
                "SELECT name, location, current FROM training_modelversion ORDER BY id"
            ).fetchall()
            asked = database.execute(
                "SELECT i.prompt_id, i.probability, array_agg(r.digest ORDER BY r.digest) FROM annotation_item i"
                " JOIN annotation_candidate c ON c.item_id = i.id JOIN annotation_response r ON r.id = c.response_id"
                " WHERE i.id > 30 GROUP BY i.id ORDER BY i.prompt_id"
            ).fetchall()
            snapshots = database.execute("SELECT number, counts FROM annotation_snapshot").fetchall()
        weights = {
            name: weights_sha256(self.folder / "artifacts" / "store" / location.removeprefix("store:"))
            for name, location, _ in models
            if location.startswith("store:")
        }
        return {
            "runs": runs,
            "models": [(name, current) for name, _, current in models],
            "weights": weights,
            "asked": asked,
            "snapshots": snapshots,
        }


def weights_sha256(manifest: Path) -> str:
    files = json.loads(manifest.read_text())["files"]
    return str(next(file["sha256"] for file in files if file["name"] == "model.safetensors"))


VICTIMS = ("web", "beat", "worker", "trainer", "valkey", "postgres")


def test_it_ends_the_same_whoever_is_killed_in_every_step(
    tiny_policy: Path, tmp_path: Path, warm_core: dict[str, str]
) -> None:
    quiet, hunted = (Site(tmp_path / name, **warm_core) for name in ("quiet", "hunted"))
    policy = tmp_path / "policy"
    shutil.copytree(tiny_policy, policy)
    killed: list[str] = []

    def kill_all() -> None:
        for name in VICTIMS:
            hunted.kill(name)
            hunted.start(name)
            killed.append(name)
            time.sleep(0.2)

    quiet.prepare(policy)
    hunted.copy(quiet)
    outcomes = []
    for site, at_each_step in ((quiet, lambda: None), (hunted, kill_all)):
        try:
            site.begin()
            round = site.play(at_each_step)
            assert round["decision"] == "promoted"
            outcomes.append(site.outcome())
        finally:
            site.end()
    undisturbed, disturbed = outcomes
    # a fast machine goes through short steps while the others are killed
    assert len(killed) >= 5 * len(VICTIMS)
    assert disturbed == undisturbed
    assert undisturbed["asked"]
