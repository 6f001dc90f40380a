"""Runs whose policy learns from its own answers: what starts them, and the data that they are given."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from django.test import override_settings
from django.urls import reverse

from annotation.actions import snapshots
from annotation.models import Project, Prompt
from tests import builders
from tests.access_cases import policy
from tests.annotation.api.base import ApiTestCase
from training.models import ModelVersion, Run
from training.registry import lineage, queries
from training.registry.actions import add_model, promote
from training.runs.actions import start_run
from training.runs.job_files import write_job
from training.runs.outputs import store_output

KINDS = ("rejection", "rest", "hindsight", "ppo", "grpo", "reinforce", "online")


class RolloutTestCase(ApiTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(ARTIFACTS=Path(folder.name))
        settings.enable()
        self.addCleanup(settings.disable)
        builders.items(self.project, 40)
        self.policy = policy(self.project)
        self.split = {prompt.pk: prompt.split for prompt in Prompt.objects.all()}
        assert set(self.split.values()) == {"train", "held_out"}

    def taste(self, name: str = "taste", project: Project | None = None) -> ModelVersion:
        return add_model(
            project=project or self.project, kind="reward", name=name, location="hub:somewhere/reward@main"
        )

    def start(self, kind: str = "ppo", **values: Any) -> Run:
        return start_run(project=self.project, kind=kind, creator=self.alice, **values)

    def rows(self, run: Run) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (write_job(run) / "data.jsonl").open()]


class PageTests(RolloutTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sign_in(self.alice)

    def url(self, kind: str) -> str:
        return reverse("run-new", args=[self.project.slug, kind])

    def test_each_kind_starts_on_the_chosen_reward_model(self) -> None:
        self.taste()
        chosen = self.taste("other-taste")
        for kind in KINDS:
            self.assertContains(self.client.get(self.url(kind)), "Max new tokens")
            data = {
                "reward_source": f"reward_model={chosen.pk}",
                "prompts": "7",
                "held_out": "2",
                "name": f"by-{kind}",
            }
            response = self.client.post(self.url(kind), data | {"setting_samples": "3"})
            run = Run.objects.get(kind=kind)
            self.assertRedirects(response, reverse("run", args=[self.project.slug, run.pk]))
            assert (run.model, run.reward_model) == (self.policy, chosen)
            assert run.inputs == {"name": f"by-{kind}", "prompts": 7, "held_out": 2}
            assert run.config["samples"] == 3
            like = self.client.get(f"{self.url(kind)}?like={run.pk}").context["form"]
            assert (like["reward_source"].value(), like["prompts"].value()) == (
                f"reward_model={chosen.pk}",
                7,
            )
            page = self.client.get(reverse("run", args=[self.project.slug, run.pk]))
            self.assertContains(page, "scored by")

    def test_without_a_reward_model_the_form_has_an_error(self) -> None:
        response = self.client.post(self.url("grpo"), {"prompts": 5})
        assert list(response.context["form"].errors) == ["reward_source"]
        self.assertContains(
            response, "This project has no reward model yet: train one first.", status_code=422
        )
        assert not Run.objects.exists()

    def test_another_project_s_reward_model_cannot_be_chosen(self) -> None:
        theirs = self.taste("theirs", builders.project(self.charlie, "Other"))
        for model in (theirs, self.policy):
            response = self.client.post(self.url("ppo"), {"reward_source": f"reward_model={model.pk}"})
            assert "reward_source" in response.context["form"].errors
        assert not Run.objects.exists()

    def test_settings_that_contradict_each_other_are_named(self) -> None:
        self.taste()
        data = {"setting_updates": "9", "setting_batch_size": "4"}
        response = self.client.post(self.url("ppo"), data)
        assert list(response.context["form"].errors) == ["setting_updates"]

    def test_there_must_be_training_prompts(self) -> None:
        empty = builders.project(self.alice, "Empty")
        policy(empty)
        self.taste(project=empty)
        response = self.client.post(reverse("run-new", args=[empty.slug, "ppo"]), {})
        self.assertContains(response, "no training prompts to answer", status_code=422)


class LineageTests(RolloutTestCase):
    def test_the_judgments_of_its_reward_model_count_as_the_policy_s(self) -> None:
        builders.judgment(self.project, self.bob)
        snapshot = snapshots.create_snapshot(project=self.project, creator=self.alice)
        teacher = Run.objects.create(
            project=self.project, kind="reward", config={}, snapshot=snapshot, created_by=self.alice
        )
        taste = add_model(
            project=self.project,
            kind="reward",
            name="taste",
            location="hub:r/r@main",
            run=teacher,
            parent=self.policy,
        )
        run = self.start("grpo", reward_model=taste)
        made = add_model(
            project=self.project,
            kind="policy",
            name="better",
            location="hub:p/p@main",
            run=run,
            parent=self.policy,
        )
        assert queries.count_judgments_behind(made) == 1
        assert queries.count_judgments_behind(self.policy) == 0
        graph = lineage.lineage_graph(made, queries.related_models(self.project))
        assert snapshot in [node.snapshot for node in graph.nodes]
        promote(made)
        self.sign_in(self.alice)
        self.assertContains(
            self.client.get(reverse("project", args=[self.project.slug])), "trained on snapshot 1", 2
        )


class ApiTests(RolloutTestCase):
    PATH = "projects/helpfulness/runs/"

    def test_it_starts_with_a_reward_model_by_its_id_or_the_current_one(self) -> None:
        current, other = self.taste(), self.taste("other")
        for given, expected in (({}, current), ({"reward_model": other.pk}, other)):
            said = self.post(self.PATH, self.alice, {"kind": "grpo", "inputs": {"prompts": 5}} | given)
            assert said.status_code == 201
            assert said.json()["reward_model"] == expected.pk
            assert Run.objects.get(pk=said.json()["id"]).reward_model == expected

    def test_only_leads_start_one(self) -> None:
        self.taste()
        for who, status in ((None, 401), (self.charlie, 404), (self.bob, 403), (self.dana, 403)):
            assert self.post(self.PATH, who, {"kind": "ppo"}).status_code == status
        assert not Run.objects.exists()

    def test_errors_are_reported_by_field(self) -> None:
        self.refused(
            self.post(self.PATH, self.alice, {"kind": "ppo"}), 400, "reward_model", "no reward model"
        )
        taste = self.taste()
        theirs = self.taste("theirs", builders.project(self.alice, "Other"))
        for changes, field, sentence in (
            ({"reward_model": theirs.pk}, "reward_model", "of no model of this project"),
            ({"reward_model": self.policy.pk}, "reward_model", "is not a reward model"),
            ({"model": taste.pk}, "model", "is not a policy"),
            ({"config": {"samples": 0}}, "config", "{'samples'"),
            ({"inputs": {"prompts": 0}}, "inputs", "{'prompts'"),
            ({"inputs": {"publish": True}}, "inputs", "takes no such input"),
            ({"kind": "generate", "reward_model": taste.pk}, "reward_model", "takes no reward model"),
        ):
            self.refused(self.post(self.PATH, self.alice, {"kind": "ppo"} | changes), 400, field, sentence)
        assert not Run.objects.exists()


class DataTests(RolloutTestCase):
    def test_prompts_come_with_their_split_and_held_out_ones_are_marked(self) -> None:
        taste = self.taste()
        run = self.start(inputs={"prompts": 5, "held_out": 2})
        rows = self.rows(run)
        assert [row["split"] for row in rows] == ["train"] * 5 + ["held_out"] * 2
        assert all(self.split[row["id"]] == row["split"] for row in rows)
        assert all("baseline" not in row for row in rows)
        job = json.loads((run.folder / "job.json").read_text())
        assert (job["kind"], job["model"], job["reward_model"]) == (
            "ppo",
            self.policy.location,
            taste.location,
        )

    def test_by_default_it_takes_every_prompt(self) -> None:
        self.taste()
        assert {row["id"]: row["split"] for row in self.rows(self.start())} == self.split

    def test_a_relative_reward_gets_each_prompt_s_first_response_as_baseline(self) -> None:
        self.taste()
        builders.imported(self.project, {"id": "bare", "prompt": "Nobody answered this?"})
        rows = self.rows(self.start(config={"reward": "binary"}))
        assert {row["id"] for row in rows} == set(self.split), "the one without an answer is left out"
        for row in rows:
            assert row["baseline"] == Prompt.objects.get(pk=row["id"]).responses.order_by("id")[0].text

    def test_rejection_includes_the_best_responses_of_earlier_rounds(self) -> None:
        self.taste()
        first = self.start("rejection")
        kept = [
            {"id": pk, "prompt": [{"role": "user", "content": "?"}], "answer": "kept", "reward": 1.0}
            for pk in self.split
        ]
        output = first.folder / "output"
        output.mkdir(parents=True)
        (output / "best.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
        store_output(first)
        first.save()
        made = add_model(
            project=self.project,
            kind="policy",
            name="best",
            location="hub:x/y@main",
            parent=self.policy,
            run=first,
        )
        later = add_model(
            project=self.project, kind="policy", name="later", location="hub:y/z@main", parent=made
        )
        remembered = [row["id"] for row in self.rows(self.start("rejection", model=later)) if "answer" in row]
        assert remembered == [pk for pk, split in self.split.items() if split == "train"]
        for run in (self.start("rejection"), self.start("ppo", model=later)):
            assert not any("answer" in row for row in self.rows(run))
