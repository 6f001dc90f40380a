"""Runs on judgments with ratings by criterion: their data, the core's work on it, and their pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from annotation.actions import snapshots
from annotation.logic.questions import KEY
from annotation.models import Snapshot
from annotation.store import folder_files, scratch_file, store
from tests.training.core.in_process import do_here
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import judge_items
from tests.training.test_runs_views import RunTestCase
from training.configs import ConfigError, is_criterion
from training.core.errors import BadInput
from training.metric_labels import criteria_tables
from training.models import ModelVersion, Run
from training.registry.model_card import render_model_card
from training.runs.actions import claim_run, finish_run, start_run
from training.runs.job_files import write_job
from training.runs.outputs import read_scores, save_output, store_output

REPORT = {
    "accuracy": 0.7,
    "criteria_accuracy": 0.775,
    "accuracy_by_criterion": [
        {"criterion": "truthfulness", "accuracy": 0.775, "pairs": 1040},
        {"criterion": "follows_instructions", "accuracy": None, "pairs": 0},
    ],
    "criteria_correlation": [[1.0, 0.25, None], [0.25, 1.0, None], [None, None, None]],
}


def ratings(row: dict[str, Any], place: int) -> list[dict[str, Any]]:
    """A rating of each response by `brief` that falls with its position, and of all but the first by `kind`."""
    kind = [{"question": "kind", "value": 1 + place}] if place else []
    return [{"question": "brief", "value": 5 - place}, *kind]


class RatedRunTests(RoundTestCase):
    @pytest.fixture(autouse=True)
    def take_real_policy(self, tiny_policy: Path) -> None:
        """A policy that the core can train."""
        self.location = f"file:{tiny_policy}"

    def setUp(self) -> None:
        super().setUp()
        judge_items(self.policy_project, self.alice, 30)
        self.snapshot = snapshots.create_snapshot(project=self.policy_project, creator=self.alice)
        ModelVersion.objects.filter(pk=self.first.pk).update(location=self.location)
        self.first.refresh_from_db()

    def rate(self, snapshot: Snapshot, *, every: int = 1) -> None:
        """Add ratings to every so many judgments of a snapshot's file."""
        rows = list(snapshots.read_judgments(snapshot))
        for row in rows[::every]:
            for place, response in enumerate(row["responses"]):
                response["ratings"] = ratings(row, place)
        self.freeze_rows(rows)

    def freeze_rows(self, rows: list[Any]) -> None:
        """Another snapshot, which has these rows."""
        with scratch_file() as path:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            self.snapshot.path = store().put(path, "snapshots/changed")
        self.snapshot.pk, self.snapshot.number = None, self.snapshot.number + 1
        self.snapshot.save(force_insert=True)

    def start(self, kind: str = "reward", criteria: str | None = None, **values: Any) -> Run:
        config = {"threads": 1, "max_length": 256}
        config |= {"max_steps": 4, "batch_size": 4} if kind == "reward" else {}
        config |= {} if criteria is None else {"criteria": criteria}
        return start_run(
            project=self.policy_project,
            kind=kind,
            creator=self.alice,
            snapshot=self.snapshot,
            config=config,
            **values,
        )

    def rows(self, run: Run) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (write_job(run) / "data.jsonl").open()]

    def end(self, run: Run) -> Run:
        """The run, done by the core and saved as a worker would."""
        claimed = claim_run(run.pk)
        assert claimed is not None
        result, _ = do_here(write_job(claimed))
        store_output(claimed)
        finish_run(claimed, state=Run.State.DONE, result=(result or {}) | save_output(claimed))
        return claimed

    def test_rows_have_the_ratings_that_the_run_asks_for(self) -> None:
        self.rate(self.snapshot, every=2)
        rows = self.rows(self.start(criteria="kind, brief"))
        assert len(rows) == 30
        assert rows[0]["criteria"] == {"kind": [None, 2, 3], "brief": [5, 4, 3]}
        assert ["criteria" in row for row in rows] == [True, False] * 15
        assert {tuple(row["criteria"]) for row in self.rows(self.start(criteria="brief"))[::2]} == {
            ("brief",)
        }
        assert not any("criteria" in row for row in self.rows(self.start()))
        assert not any("criteria" in row for row in self.rows(self.start("dpo")))

    def test_judgments_without_ratings_give_rows_without_them(self) -> None:
        """Also those of snapshots from before there were ratings."""
        assert not any("criteria" in row for row in self.rows(self.start(criteria="kind")))
        rows = list(snapshots.read_judgments(self.snapshot))
        for row in rows:
            for response in row["responses"]:
                response["ratings"] = []
        self.freeze_rows(rows)
        run = self.start(criteria="kind")
        assert not any("criteria" in row for row in self.rows(run))
        with pytest.raises(BadInput, match="different ratings of kind"):
            do_here(run.folder)

    def test_a_run_learns_the_ratings_and_an_evaluation_reports_on_them(self) -> None:
        self.rate(self.snapshot)
        run = self.end(self.start(criteria="brief, kind", inputs={"name": "rated"}))
        version = self.policy_project.model_versions.get(name="rated")
        assert [row["criterion"] for row in version.metrics["accuracy_by_criterion"]] == ["brief", "kind"]
        assert all(row["pairs"] for row in version.metrics["accuracy_by_criterion"])
        assert "criteria.safetensors" in folder_files(version.location)
        evaluation = self.end(self.start("evaluate", model=version))
        report = evaluation.result["report"]
        assert report["accuracy_by_criterion"] == run.result["report"]["accuracy_by_criterion"]
        assert len(read_scores(evaluation)) == 30, "the rewards, as ever"

        self.client.force_login(self.alice)
        for url in (
            reverse("run", args=[self.policy_project.slug, run.pk]),
            reverse("run", args=[self.policy_project.slug, evaluation.pk]),
            reverse("model", args=[self.policy_project.slug, version.pk]),
        ):
            self.assertContains(self.client.get(url), "Scores by criterion")

    def test_a_model_that_came_from_elsewhere_has_no_known_criteria(self) -> None:
        self.rate(self.snapshot)
        model = self.policy_project.model_versions.create(
            kind="reward", name="r", location="hub:somewhere/x@main"
        )
        assert not any("criteria" in row for row in self.rows(self.start("evaluate", model=model)))

    def test_bad_criteria_are_refused_before_there_is_a_run(self) -> None:
        with pytest.raises(ConfigError, match="holds kind twice"):
            self.start(criteria="kind,kind")
        assert not Run.objects.exists()


class CriteriaPageTests(RunTestCase):
    def setUp(self) -> None:
        self.sign_in(self.alice)

    def test_the_form_takes_criteria_and_shows_errors_at_their_field(self) -> None:
        url = self.url("run-new", "reward")
        self.assertContains(self.client.get(url), 'name="setting_criteria"')
        data = {"snapshot": self.snapshot.pk, "setting_criteria": "truthfulness, Not a key"}
        response = self.client.post(url, data)
        assert list(response.context["form"].errors) == ["setting_criteria"]
        self.assertContains(response, "which is no key of a criterion", status_code=422)
        assert not Run.objects.exists()
        self.client.post(url, data | {"setting_criteria": "truthfulness, kind"})
        run = Run.objects.get()
        assert run.config["criteria"] == "truthfulness, kind"
        page = self.client.get(f"{url}?like={run.pk}")
        assert page.context["form"]["setting_criteria"].value() == "truthfulness, kind"

    def test_the_pages_and_the_card_show_accuracy_and_correlation(self) -> None:
        run = claim_run(self.start().pk)
        assert run is not None
        finish_run(run, state=Run.State.DONE, result={"report": REPORT})
        version = ModelVersion.objects.create(
            project=self.project, kind="reward", name="rated", location="r", metrics=REPORT, run=run
        )
        for url in (self.url("run", run.pk), self.url("model", version.pk)):
            page = self.client.get(url)
            for text in ("Accuracy by criterion", "Follows instructions", "77.5%", "1,040", "0.25", "–"):
                self.assertContains(page, text)
        card = render_model_card(version)
        assert "| Accuracy by criterion | 77.5% |" in card
        assert "| Truthfulness | 77.5% | 1,040 |" in card
        assert "| score | Reward | Truthfulness | Follows instructions |\n|---|---|---|---|\n" in card
        assert "| Truthfulness | 0.25 | 1.00 | – |" in card

    def test_models_without_criteria_have_no_such_table(self) -> None:
        assert criteria_tables({"accuracy": 0.7}) is None
        version = ModelVersion.objects.create(
            project=self.project, kind="reward", name="plain", location="r", metrics={"accuracy": 0.7}
        )
        self.assertNotContains(self.client.get(self.url("model", version.pk)), "Scores by criterion")
        assert "criterion" not in render_model_card(version)


@pytest.mark.parametrize(
    "name", ["honesty", "a", "a1_b", "Honesty", "1a", "_a", "a-b", "a" * 40, "a" * 41, "", "é"]
)
def test_a_criterion_is_named_as_a_project_names_its_questions(name: str) -> None:
    """The rule stands on both sides of the import contracts."""
    assert is_criterion(name) == bool(KEY.fullmatch(name))
