"""Runs and rounds on imported judgments: by choice, and measured by the project's own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from annotation.actions import judgments, leases, snapshots
from annotation.models import ImportedJudgment, Prompt, Snapshot
from tests import builders
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import judge_items, play
from training.errors import RunError
from training.models import Run
from training.registry.actions import add_model
from training.rounds import transitions
from training.runs.actions import start_run
from training.runs.job_files import write_job


class ImportedRunTests(RoundTestCase):
    def setUp(self) -> None:
        super().setUp()
        judge_items(self.policy_project, self.alice, 30)
        self.import_judgments(40)

    def import_judgments(self, number: int) -> None:
        rows = (
            {
                "prompt": f"What of {ImportedJudgment.objects.count()} and {n}?",
                "responses": [f"{n} is good.", f"Unknown, {n}."],
                "judgments": [{"ranks": [1, 2], "account": "machine"}],
            }
            for n in range(number)
        )
        builders.imported(self.policy_project, *rows)

    def freeze(self, *, imported: bool = True) -> Snapshot:
        return snapshots.create_snapshot(project=self.policy_project, creator=self.alice, imported=imported)

    def rows_of(self, snapshot: Snapshot, kind: str = "reward", **inputs: Any) -> list[dict[str, Any]]:
        if kind == "evaluate":
            model = self.policy_project.model_versions.create(
                kind="reward", name="r", location="hub:somewhere/x@main"
            )
            run = start_run(
                project=self.policy_project,
                kind=kind,
                creator=self.alice,
                snapshot=snapshot,
                model=model,
                inputs=inputs,
            )
        else:
            run = start_run(
                project=self.policy_project, kind=kind, creator=self.alice, snapshot=snapshot, inputs=inputs
            )
        return [json.loads(line) for line in (write_job(run) / "data.jsonl").open()]

    def test_imported_judgments_train_and_the_project_s_own_measure(self) -> None:
        imported = set(ImportedJudgment.objects.values_list("pk", flat=True))
        rows = self.rows_of(self.freeze())
        splits = {row["split"] for row in rows if row["id"] in imported}
        assert splits == {"train"}
        assert {row["split"] for row in rows if row["id"] not in imported} == {"train", "held_out"}
        assert len({row["id"] for row in rows}) == len(rows)
        assert not imported & {row["id"] for row in self.rows_of(self.freeze(), "evaluate")}

    def test_a_run_may_leave_them_out_or_use_them_alone(self) -> None:
        imported = set(ImportedJudgment.objects.values_list("pk", flat=True))
        frozen = self.freeze()
        assert not imported & {row["id"] for row in self.rows_of(frozen, imported="exclude")}
        only = self.rows_of(frozen, imported="only")
        assert {row["id"] for row in only} == imported
        assert {row["split"] for row in only} == {"train", "held_out"}

    def test_a_project_that_judged_nothing_trains_on_them_alone(self) -> None:
        self.policy_project = builders.project(self.alice, "Fresh")
        add_model(project=self.policy_project, kind="policy", name="p", location="hub:somewhere/p@main")
        self.import_judgments(40)
        assert {row["split"] for row in self.rows_of(self.freeze())} == {"train", "held_out"}
        assert Run.objects.latest("pk").inputs["imported"] == "only"

    def test_a_snapshot_without_them_is_trained_on_as_ever(self) -> None:
        self.rows_of(self.freeze(imported=False))
        assert "imported" not in Run.objects.latest("pk").inputs

    def test_a_choice_that_leaves_nothing_or_is_unknown_is_refused(self) -> None:
        with pytest.raises(RunError, match="no preference pairs"):
            self.rows_of(self.freeze(imported=False), imported="only")
        with pytest.raises(RunError, match="none of: exclude"):
            self.rows_of(self.freeze(), imported="sometimes")

    def test_a_loop_includes_them_if_it_is_set(self) -> None:
        for n, imported in enumerate((False, True, True, False)):
            loop = self.make_loop(name=f"loop-{n}", options={"imported": imported})
            round = transitions.start_round(loop=loop, creator=self.alice)
            if self.policy_project.snapshots.exists():
                transitions.skip_waiting(round, self.alice)
            round = play(round, until="rewards")
            assert round.snapshot is not None
            assert bool(round.snapshot.counts.get("imported")) == imported
            transitions.cancel(round, self.alice)
        assert self.policy_project.snapshots.count() == 3  # the third loop had nothing new to freeze


class ImportedDemonstrationTests(RoundTestCase):
    def test_written_answers_train_by_choice_and_those_of_held_out_prompts_never(self) -> None:
        project = builders.project(self.alice, "Write", task="demonstrations")
        add_model(project=project, kind="policy", name="first", location="hub:somewhere/x@main")
        builders.imported(project, {"prompt": "Why?", "responses": []})
        Prompt.objects.update(split="train")
        lease = leases.claim(project=project, annotator=self.alice)
        assert lease is not None
        judgments.submit(lease=lease, ranks={}, text="My answer.", idempotency_key=lease.token)
        for n in range(3):
            written = {"ranks": [], "account": "person", "details": {"demonstration": f"Theirs, {n}."}}
            builders.imported(project, {"prompt": f"How {n}?", "responses": [], "judgments": [written]})
        Prompt.objects.update(split="train")
        Prompt.objects.filter(messages__0__content="How 2?").update(split="held_out")
        for choice, expected in (
            ("exclude", ["My answer."]),
            ("include", ["My answer.", "Theirs, 0.", "Theirs, 1."]),
        ):
            run = start_run(
                project=project,
                kind="sft",
                creator=self.alice,
                inputs={"demonstrations": True, "imported": choice, "name": f"m-{choice}"},
            )
            rows = [json.loads(line) for line in (write_job(run) / "data.jsonl").open()]
            assert [row["messages"][-1]["content"] for row in rows] == expected
