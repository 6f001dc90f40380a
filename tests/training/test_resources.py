"""What runs ask of the machines: fields, limits, priorities, and the GPUs of one machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import TestCase, override_settings
from django.utils import timezone

from annotation.models import User
from tests import builders
from tests.annotation.api.base import ApiTestCase
from tests.processes import until
from tests.training.test_runs_views import RunTestCase
from training import tasks
from training.errors import RunError
from training.launch.devices import device_names, reserve_devices
from training.launch.scheduler import Scheduler
from training.models import Run
from training.registry.actions import add_model
from training.runs.actions import claim_run, start_run
from training.runs.queries import runs_to_claim

CLUSTER = Scheduler(
    path=Path("cluster.toml"),
    submit=["submit", "{argv}"],
    status=["status", "{name}"],
    cancel=["cancel", "{name}"],
    alive=["RUNNING"],
    ended=["DONE"],
    queues=("gpu", "debug"),
    nodes=4,
    gpus=8,
)
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({}, {"nodes": 2}, "nodes", "at most 1 nodes, not 2; see the setting LAUNCHER"),
    ({}, {"gpus": 2}, "gpus", "at most 1 gpus, not 2; see the setting GPUS"),
    ({}, {"queue": "gpu"}, "queue", "no queue 'gpu'; it has: none. See the setting LAUNCHER"),
    ({"GPUS": 8}, {"gpus": 9}, "gpus", "at most 8 gpus, not 9; see the setting GPUS"),
    ({"LAUNCHER": CLUSTER}, {"nodes": 5}, "nodes", "at most 4 nodes, not 5; see the setting LAUNCHER"),
    ({"LAUNCHER": CLUSTER}, {"gpus": 9}, "gpus", "at most 8 gpus, not 9; see the setting LAUNCHER"),
    ({"LAUNCHER": CLUSTER}, {"queue": "fast"}, "queue", "no queue 'fast'; it has: gpu, debug"),
    ({}, {"priority": 1001}, "priority", "from -1000 to 1000"),
]


class FormTests(RunTestCase):
    def setUp(self) -> None:
        self.sign_in(self.alice)

    def fields(self, kind: str = "reward") -> set[str]:
        page = self.client.get(self.url("run-new", kind))
        names = {"nodes", "gpus", "queue", "priority"}
        fields = {name for name in names if f'name="{name}"'.encode() in page.content}
        assert bool(fields) == (b"<summary>Resources</summary>" in page.content)
        return fields

    def test_fields_are_there_only_where_the_site_leaves_a_choice(self) -> None:
        assert self.fields() == set()
        with override_settings(GPUS=8):
            assert self.fields() == {"gpus", "priority"}
            assert self.fields("generate") == {"priority"}
        with override_settings(LAUNCHER=CLUSTER):
            assert self.fields() == {"nodes", "gpus", "queue", "priority"}
            assert self.fields("generate") == {"queue", "priority"}

    @override_settings(LAUNCHER=CLUSTER)
    def test_what_was_chosen_reaches_the_run_its_page_and_a_similar_run(self) -> None:
        chosen = {"nodes": 2, "gpus": 8, "queue": "debug", "priority": -3}
        self.client.post(
            self.url("run-new", "reward"), {"snapshot": self.snapshot.pk, "model": self.policy.pk} | chosen
        )
        run = Run.objects.get()
        assert {name: getattr(run, name) for name in chosen} == chosen
        page = self.client.get(run.get_absolute_url()).content.decode()
        for label, value in (("Nodes", 2), ("GPUs", 8), ("Queue", "debug"), ("Priority", -3)):
            assert f"<dt>{label}</dt><dd>{value}</dd>" in page
        form = self.client.get(f"{self.url('run-new', 'reward')}?like={run.pk}").context["form"]
        assert {field.name: field.value() for field in form.resources()} == chosen

    @override_settings(GPUS=2)
    def test_more_than_there_is_is_an_error_at_its_field(self) -> None:
        page = self.client.post(self.url("run-new", "reward"), {"snapshot": self.snapshot.pk, "gpus": 3})
        assert page.status_code == 422
        assert page.context["form"].errors["gpus"] == ["Ensure this value is less than or equal to 2."]
        assert b'<details class="advanced" open>' in page.content
        assert not Run.objects.exists()

    def test_what_the_site_has_not_is_refused_with_the_setting(self) -> None:
        for site, resources, field, sentence in REFUSED:
            with (
                self.subTest(site=site, resources=resources),
                override_settings(**site),
                pytest.raises(RunError) as raised,
            ):
                self.start(resources=resources)
            assert raised.value.field == field
            assert sentence in str(raised.value)
        with override_settings(GPUS=8), pytest.raises(RunError) as raised:
            self.start("generate", resources={"gpus": 2})
        assert "A generate run is one process" in str(raised.value)
        assert not Run.objects.exists()

    def test_a_run_that_waits_at_the_scheduler_names_its_job(self) -> None:
        run = claim_run(self.start().pk)
        assert run is not None
        Run.objects.update(launch={"name": "palate-1-ab", "offset": 0, "submitted": True})
        page = self.client.get(run.get_absolute_url()).content.decode()
        assert "Job palate-1-ab waits for the scheduler" in page


class ApiTests(ApiTestCase, TestCase):
    def setUp(self) -> None:
        add_model(project=self.project, kind="policy", name="base", location="hub:some/base@main")

    def start(self, resources: Any) -> Any:
        return self.post(
            "projects/helpfulness/runs/", self.alice, {"kind": "generate", "resources": resources}
        )

    def test_a_run_asks_for_resources(self) -> None:
        with override_settings(LAUNCHER=CLUSTER):
            made = self.start({"queue": "debug", "priority": 4})
        assert made.status_code == 201
        expected = {"nodes": 1, "gpus": None, "queue": "debug", "priority": 4}
        assert made.json()["resources"] == expected
        assert self.get(f"runs/{made.json()['id']}/", self.alice).json()["resources"] == expected

    def test_what_the_site_has_not_is_an_error_at_its_field(self) -> None:
        for resources, name in (
            ({"cpus": 1}, "cpus"),
            ({"gpus": 2}, "gpus"),
            ({"nodes": 10**30}, "nodes"),
            ({"queue": "x"}, "queue"),
            ({"priority": 2000}, "priority"),
            ({"nodes": "many"}, "nodes"),
        ):
            self.refused(self.start(resources), 400, "resources", f"'{name}'")
        assert not Run.objects.exists()


class PriorityTests(RunTestCase):
    def test_runs_of_a_higher_priority_come_first_and_then_those_that_have_waited_long(self) -> None:
        old, low, high, other = (self.start(resources={"priority": n}) for n in (0, -1, 5, 0))
        assert runs_to_claim(other.pk) == [high, other]
        assert runs_to_claim(high.pk) == [high]
        Run.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(minutes=11))
        assert runs_to_claim(other.pk) == [high, old, other]
        assert runs_to_claim(low.pk) == [high, old, other, low]
        claim_run(high.pk)
        assert runs_to_claim(low.pk) == [old, other, low]
        assert runs_to_claim(high.pk) == []


NOTES_ITS_GPUS = """
import os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
(folder / "gpus").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
while not (folder / "end").exists():
    time.sleep(0.05)
"""


@pytest.mark.live
@pytest.mark.django_db(transaction=True)
class TestGpusOfOneMachine:
    @pytest.fixture
    def alice(self) -> User:
        return builders.user("alice", is_staff=True)

    @pytest.fixture(autouse=True)
    def machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alice: User) -> None:
        """Two GPUs, and a program in place of the core, which notes what it is given until it is told to end."""
        for name, value in (("ARTIFACTS", tmp_path), ("VAR", tmp_path), ("GPUS", 2)):
            monkeypatch.setattr(settings, name, value)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(
            tasks, "_core_command", lambda run: [sys.executable, "-c", NOTES_ITS_GPUS, str(run.folder)]
        )
        self.project = builders.project(alice, k=3)
        add_model(project=self.project, kind="policy", name="first", location="hub:some/base@main")
        builders.items(self.project, 3, k=3)
        self.alice = alice

    def queue(self, gpus: int | None = None, priority: int = 0) -> Run:
        """A run of a kind that trains."""
        return start_run(
            project=self.project,
            kind="grpo",
            creator=self.alice,
            config={"reward_function": "letters:count"},
            resources={"gpus": gpus, "priority": priority},
        )

    @pytest.fixture(autouse=True)
    def reward_function(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(settings, "REWARD_FUNCTIONS", ["letters:count"])

    @contextmanager
    def worker(self, run: Run, woken_for: Run | None = None) -> Iterator[None]:
        """A worker that executes a run meanwhile."""

        def work() -> None:
            try:
                tasks.execute_run.run((woken_for or run).pk)
            finally:
                connection.close()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            (run.folder / "end").touch()
            thread.join()

    def gpus_of(self, run: Run) -> str:
        file = run.folder / "gpus"
        until(lambda: file.exists() and file.read_text(), "the program is started")
        return file.read_text()

    def waits(self, run: Run) -> bool:
        """Whether a worker that is woken for a run leaves it in the queue."""
        tasks.execute_run.run(run.pk)
        run.refresh_from_db()
        return run.state == Run.State.QUEUED

    def test_runs_at_the_same_time_have_gpus_of_their_own(self) -> None:
        first, second = self.queue(), self.queue()
        with self.worker(first), self.worker(second):
            assert {self.gpus_of(first), self.gpus_of(second)} == {"0", "1"}

    def test_a_run_with_two_gpus_has_both(self) -> None:
        run = self.queue(gpus=2)
        with self.worker(run):
            assert self.gpus_of(run) == "0,1"

    def test_a_run_waits_for_gpus_and_smaller_ones_pass_it(self) -> None:
        first, large, small = self.queue(), self.queue(gpus=2), self.queue()
        with self.worker(first):
            self.gpus_of(first)
            assert self.waits(large)
            with self.worker(small):
                assert self.gpus_of(small) == "1"
        with self.worker(large):
            assert self.gpus_of(large) == "0,1"

    def test_once_it_has_waited_long_only_runs_of_a_higher_priority_pass(self) -> None:
        first, large, small = self.queue(), self.queue(gpus=2), self.queue()
        Run.objects.filter(pk=large.pk).update(created_at=timezone.now() - timedelta(minutes=11))
        with self.worker(first):
            self.gpus_of(first)
            urgent = self.queue(priority=1)
            with self.worker(urgent, woken_for=small):
                assert self.gpus_of(urgent) == "1"
            assert self.waits(small)
            assert self.waits(large)

    def test_without_gpus_a_run_is_given_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(settings, "GPUS", 0)
        run = self.queue()
        with self.worker(run):
            assert self.gpus_of(run) == "none"


def test_gpus_are_those_that_the_worker_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert device_names(3) == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-ab")
    assert device_names(8) == ["4", "GPU-ab"]


def test_the_gpus_of_a_process_that_was_killed_are_free(tmp_path: Path) -> None:
    held = os.fork()
    if not held:
        with reserve_devices(tmp_path, ["0", "1"], 2):
            signal.pause()
    try:
        until(lambda: is_held(tmp_path), "the other process holds them")
    finally:
        os.kill(held, signal.SIGKILL)
        os.waitpid(held, 0)
    assert not is_held(tmp_path)


def is_held(folder: Path) -> bool:
    with reserve_devices(folder, ["0", "1"], 1) as devices:
        return devices is None


def test_gpus_are_free_after_a_reservation_that_failed(tmp_path: Path) -> None:
    with reserve_devices(tmp_path, ["0", "1"], 3) as devices:
        assert devices is None
    with reserve_devices(tmp_path, ["0", "1"], 2) as both:
        assert both is not None
        assert both.environment == {"CUDA_VISIBLE_DEVICES": "0,1"}
