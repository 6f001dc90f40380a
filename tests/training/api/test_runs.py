from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.test import TestCase, override_settings
from django.utils import timezone

from annotation.actions import snapshots
from annotation.models import Prompt, Snapshot
from tests import builders
from tests.annotation.api.base import ApiTestCase, EndpointTests
from training.models import Metric, ModelVersion, Run
from training.registry.actions import add_model
from training.runs.actions import claim_run, finish_run, record_log

PATH = "projects/helpfulness/runs/"


class TrainingTestCase(ApiTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.artifacts = Path(folder.name)
        settings = override_settings(ARTIFACTS=self.artifacts)
        settings.enable()
        self.addCleanup(settings.disable)
        builders.items(self.project, 12)
        for _ in range(12):
            builders.judgment(self.project, self.bob)
        self.snapshot = snapshots.create_snapshot(project=self.project, creator=self.alice)
        self.policy = self.model("base", "policy")

    def model(self, name: str, kind: str, **fields: Any) -> ModelVersion:
        return add_model(project=self.project, kind=kind, name=name, location="hub:some/base@main", **fields)

    def run_of(self, **fields: Any) -> Run:
        return Run.objects.create(
            project=self.project,
            kind="reward",
            config={},
            model=self.policy,
            snapshot=self.snapshot,
            created_by=self.alice,
            **fields,
        )


class AccessTests(EndpointTests, TrainingTestCase, TestCase):
    def setUp(self) -> None:
        super().setUp()
        run = self.run_of()
        self.ENDPOINTS = (
            ("GET", PATH, "lead reviewer", None),
            ("POST", PATH, "lead", {"kind": "reward", "snapshot": 1}),
            ("GET", f"runs/{run.pk}/", "lead reviewer", None),
            ("GET", f"runs/{run.pk}/metrics/", "lead reviewer", None),
            ("GET", f"runs/{run.pk}/log/", "lead reviewer", None),
            ("POST", f"runs/{run.pk}/cancel/", "lead", None),
            ("POST", f"runs/{run.pk}/resume/", "lead", None),
        )

    def test_an_unknown_run_is_not_found(self) -> None:
        for path in ("", "metrics/", "log/"):
            unknown = self.get(f"runs/{2**62}/{path}", self.charlie)
            self.refused(unknown, 404, "detail", "No such run")
            assert self.get(f"runs/{Run.objects.get().pk}/{path}", self.charlie).content == unknown.content


class StartTests(TrainingTestCase):
    def start(self, **values: Any) -> Any:
        return self.post(PATH, self.alice, values)

    def test_it_queues_the_run_and_wakes_a_worker(self) -> None:
        with (
            patch("training.runs.actions.app.send_task") as sent,
            self.captureOnCommitCallbacks(execute=True),
        ):
            answer = self.start(
                kind="reward", snapshot=1, config={"epochs": 3, "margin": "none"}, inputs={"name": "taste"}
            )
        assert answer.status_code == 201
        said = answer.json()
        run = Run.objects.get(pk=said["id"])
        assert (said["state"], said["kind"], said["snapshot"], said["model"]) == (
            "queued",
            "reward",
            1,
            self.policy.pk,
        )
        assert said["config"]["epochs"] == run.config["epochs"] == 3
        assert said["inputs"] == run.inputs == {"name": "taste"}
        assert said["project"] == "helpfulness"
        assert run.created_by == self.alice
        sent.assert_called_once_with("training.tasks.execute_run", [run.pk], retry=False)

    def test_generation_takes_prompts_by_the_ids_they_came_with(self) -> None:
        answer = self.start(
            kind="generate",
            config={"samples": 2},
            inputs={"prompts": 5, "split": "train", "publish": True, "prompt_ids": ["p3", "p1"]},
        )
        assert answer.status_code == 201
        keys = [Prompt.objects.get(external_id=id).pk for id in ("p3", "p1")]
        assert Run.objects.get().inputs["prompt_ids"] == keys

    def test_an_evaluation_takes_the_current_reward_model(self) -> None:
        self.refused(self.start(kind="evaluate", snapshot=1), 400, "model", "no reward model")
        reward = self.model("taste", "reward")
        assert self.start(kind="evaluate", snapshot=1).json()["model"] == reward.pk

    def test_texts_come_from_the_servers_own_folder_only(self) -> None:
        texts = self.artifacts / "texts"
        texts.mkdir()
        (texts / "a.jsonl").write_text("{}\n")
        (self.artifacts / "secret.jsonl").write_text("{}\n")
        assert self.start(kind="sft", inputs={"data": "a.jsonl"}).status_code == 201
        for name in ("../secret.jsonl", "/etc/passwd", "missing.jsonl", ".", "é" * 200):
            answer = self.start(kind="sft", inputs={"data": name})
            self.refused(answer, 400, "inputs", "There is no file")
        self.refused(self.start(kind="sft"), 400, "inputs", "required")

    def test_errors_are_reported_by_field(self) -> None:
        other = builders.project(self.alice, "Other")
        foreign = add_model(project=other, kind="policy", name="theirs", location="hub:some/base@main")
        reward = self.model("taste", "reward")
        good: dict[str, Any] = {"kind": "reward", "snapshot": 1}
        for changes, field, sentence in (
            ({"kind": "grpo-but-better"}, "kind", "there are pretrain, sft"),
            ({"kind": None}, "kind", "null"),
            ({"kind": ["reward"]}, "kind", "string"),
            ({"snapshot": None}, "snapshot", "Choose a snapshot"),
            ({"snapshot": 7}, "snapshot", "7 is the number of no snapshot"),
            ({"snapshot": 10**30}, "snapshot", "number of no snapshot"),
            ({"snapshot": "x"}, "snapshot", "integer"),
            ({"model": foreign.pk}, "model", "of no model of this project"),
            ({"model": 10**30}, "model", "of no model"),
            ({"model": reward.pk}, "model", "is not a policy"),
            ({"config": []}, "config", "dictionary"),
            ({"config": {"epochs": 0}}, "config", "{'epochs': ['must be at least 1, not 0.']}"),
            ({"config": {"epochs": "two"}}, "config", "whole number"),
            ({"config": {"epochs": None}}, "config", "whole number"),
            ({"config": {"magic": 1}}, "config", "{'magic'"),
            ({"config": {"margin": "huge"}}, "config", "must be one of none, small, large"),
            ({"inputs": {"prompts": 3}}, "inputs", "takes no such input"),
            ({"inputs": {"name": "not a slug"}}, "inputs", "slug"),
            ({"inputs": []}, "inputs", "dictionary"),
            ({"kind": "generate", "inputs": {"prompts": 0}}, "inputs", "{'prompts'"),
            (
                {"kind": "generate", "inputs": {"prompt_ids": ["p1", "none"]}},
                "inputs",
                "'none' is the id of no",
            ),
            ({"kind": "generate", "inputs": {"prompt_ids": ["a\0b"]}}, "inputs", "Null characters"),
            ({"kind": "generate", "inputs": {"split": "test"}}, "inputs", "not a valid choice"),
            (
                {"kind": "generate", "inputs": {"publish": True}, "config": {"samples": 10}},
                "config",
                "2 to 9",
            ),
        ):
            self.refused(self.post(PATH, self.alice, good | changes), 400, field, sentence)
        assert not Run.objects.exists()

    def test_a_snapshot_without_pairs_is_refused(self) -> None:
        Snapshot.objects.create(
            project=self.project,
            number=2,
            counts={"judgments": 1, "pairs": 0},
            last_judgment=1,
            sha256="",
            path="",
            created_by=self.alice,
        )
        self.refused(self.start(kind="dpo", snapshot=2), 400, "snapshot", "no preference pairs")


class FollowTests(TrainingTestCase):
    def test_runs_are_listed_oldest_first(self) -> None:
        runs = [self.run_of().pk for _ in range(3)]
        page = self.get(PATH, self.dana).json()
        assert [run["id"] for run in page["results"]] == runs
        assert (page["next"], page["previous"]) == (None, None)

    def test_the_number_of_queries_does_not_grow(self) -> None:
        for _ in range(10):
            self.run_of()
        self.sign_in(self.dana)
        with self.assertNumQueries(3):  # user, membership, runs with all that is theirs
            self.client.get(f"/api/v1/{PATH}")

    def test_a_run_has_its_progress_and_its_result(self) -> None:
        run = self.run_of(
            state="done", step=5, total=10, result={"accuracy": 0.7}, finished_at=timezone.now()
        )
        made = self.model("taste", "reward", run=run)
        said = self.get(f"runs/{run.pk}/", self.dana).json()
        assert (said["percent"], said["output"], said["result"]) == (50, made.pk, {"accuracy": 0.7})

    def test_a_failed_run_has_a_log_and_advice(self) -> None:
        run = self.run_of()
        assert self.get(f"runs/{run.pk}/log/", self.dana).json() == {"text": "", "advice": []}
        claimed = claim_run(run.pk)
        assert claimed is not None
        record_log(claimed, "IndexError")
        finish_run(claimed, state=Run.State.FAILED, error="It failed.")
        log = self.get(f"runs/{run.pk}/log/", self.dana).json()
        assert log["text"] == "IndexError"
        assert log["advice"][0].startswith("Resume")

    def test_metrics_come_by_step_and_can_be_followed(self) -> None:
        run = self.run_of()
        for step in (10, 20, 30):
            Metric.objects.create(run=run, step=step, values={"loss": 1 / step, "accuracy": None})
        path = f"runs/{run.pk}/metrics/"
        assert self.get(path, self.dana).json()[0] == {"step": 10, "values": {"loss": 0.1, "accuracy": None}}
        assert [line["step"] for line in self.get(f"{path}?after=20", self.dana).json()] == [30]
        for after in ("x", "1.5", "9" * 30, ""):
            self.refused(self.get(f"{path}?after={after}", self.dana), 400, "after", "is not a step")


class StopTests(TrainingTestCase):
    def test_a_queued_run_is_cancelled_at_once_and_can_be_resumed(self) -> None:
        run = self.run_of()
        assert self.post(f"runs/{run.pk}/cancel/", self.alice).json()["state"] == "cancelled"
        self.refused(self.post(f"runs/{run.pk}/cancel/", self.alice), 409, "detail", "is over")
        assert self.post(f"runs/{run.pk}/resume/", self.alice).json()["state"] == "queued"
        self.refused(self.post(f"runs/{run.pk}/resume/", self.alice), 409, "detail", "cancelled or failed")
        run.refresh_from_db()
        assert (run.state, run.cancel_requested) == ("queued", False)

    def test_a_running_run_gets_a_cancel_request(self) -> None:
        run = self.run_of()
        assert claim_run(run.pk) is not None
        assert self.post(f"runs/{run.pk}/cancel/", self.alice).json()["state"] == "running"
        run.refresh_from_db()
        assert run.cancel_requested
