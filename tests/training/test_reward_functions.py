"""Runs whose rewards come from a Python function: who may name which, what they are given, and what a model tells of it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from django.urls import reverse

from annotation.models import Prompt
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import LENIENT, TINY, play
from tests.training.test_rollout_runs import RolloutTestCase
from training.errors import RunError
from training.models import ModelVersion, Run
from training.registry.actions import add_model
from training.registry.model_card import render_model_card
from training.rounds.loops import save_loop
from training.runs.actions import cancel_run, resume_run
from training.runs.job_files import write_job

MODULE = "tests.training.reward_functions"
NAME = f"{MODULE}:count_letters"
ALLOWED = override_settings(REWARD_FUNCTIONS=[NAME, "other:reward"])
SHA256 = "ab" * 32


class FunctionTestCase(RolloutTestCase):
    def setUp(self) -> None:
        super().setUp()
        ALLOWED.enable()
        self.addCleanup(ALLOWED.disable)

    def url(self, kind: str) -> str:
        return reverse("run-new", args=[self.project.slug, kind])

    def refusal(self, name: str, **values: Any) -> RunError:
        with pytest.raises(RunError) as caught:
            self.start("grpo", config={"reward_function": name}, **values)
        assert not Run.objects.exists()
        return caught.value


class StartTests(FunctionTestCase):
    def test_the_prompts_come_with_their_metadata_and_no_reward_model(self) -> None:
        prompt = Prompt.objects.filter(split="train").earliest("pk")
        Prompt.objects.filter(pk=prompt.pk).update(metadata={"letter": "e"})
        self.taste()
        run = self.start("grpo", config={"reward_function": NAME})
        assert run.reward_model is None
        metadata = {row["id"]: row["metadata"] for row in self.rows(run)}
        assert metadata[prompt.pk] == {"letter": "e"}
        assert set(metadata) == set(self.split)
        job = json.loads((run.folder / "job.json").read_text())
        assert "reward_model" not in job
        assert job["config"]["reward_function"] == NAME
        assert not any("metadata" in row for row in self.rows(self.start("grpo")))

    def test_only_functions_that_the_administrator_allows_can_be_named(self) -> None:
        error = self.refusal("os:system")
        assert error.field == "reward_function"
        assert str(error) == (
            f"It is none of the functions in the administrator's REWARD_FUNCTIONS: {NAME}, other:reward."
        )
        with override_settings(REWARD_FUNCTIONS=[]):
            assert str(self.refusal(NAME)).endswith("REWARD_FUNCTIONS, of which there are none.")

    def test_it_is_the_only_source_of_rewards(self) -> None:
        error = self.refusal(NAME, reward_model=self.taste())
        assert str(error) == "Rewards come from a reward model, a judge or a function: choose one of them."

    def test_there_must_be_prompts_to_answer(self) -> None:
        Prompt.objects.update(split="held_out")
        assert self.refusal(NAME).field == "prompts"

    def test_a_run_is_not_resumed_with_a_function_that_is_allowed_no_more(self) -> None:
        run = cancel_run(self.start("ppo", config={"reward_function": NAME}))
        with override_settings(REWARD_FUNCTIONS=[]), pytest.raises(RunError) as caught:
            resume_run(run)
        assert caught.value.field == "reward_function"
        assert resume_run(run).state == Run.State.QUEUED

    def test_no_web_process_imports_it(self) -> None:
        sys.modules.pop(MODULE, None)
        self.sign_in(self.alice)
        self.client.post(self.url("grpo"), {"reward_source": f"reward_function={NAME}"})
        assert Run.objects.get().config["reward_function"] == NAME
        assert MODULE not in sys.modules


class FormTests(FunctionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sign_in(self.alice)

    def test_one_field_offers_reward_models_judges_and_functions(self) -> None:
        taste = self.taste()
        form = self.client.get(self.url("ppo")).context["form"]
        offered = {
            str(group): [value for value, _ in choices]
            for group, choices in form["reward_source"].field.choices
        }
        assert offered == {
            "Reward models": [f"reward_model={taste.pk}"],
            "Judges, by the constitution": [f"judge={self.policy.pk}"],
            "Functions": [f"reward_function={NAME}", "reward_function=other:reward"],
        }
        assert form["reward_source"].value() == f"reward_model={taste.pk}"
        assert "setting_reward_function" not in form.fields

    def test_a_run_like_another_has_its_function(self) -> None:
        self.client.post(self.url("rest"), {"reward_source": f"reward_function={NAME}"})
        run = Run.objects.get()
        form = self.client.get(f"{self.url('rest')}?like={run.pk}").context["form"]
        assert form["reward_source"].value() == f"reward_function={NAME}"
        self.assertContains(self.client.get(run.get_absolute_url()), f"scored by <code>{NAME}</code>")

    def test_another_function_is_an_error_at_the_field(self) -> None:
        answer = self.client.post(self.url("rest"), {"reward_source": "reward_function=os:system"})
        assert list(answer.context["form"].errors) == ["reward_source"]
        judged = self.client.post(self.url("rest"), {"reward_source": f"judge={self.policy.pk}"})
        self.assertContains(judged, "This project has no constitution yet", status_code=422)
        assert not Run.objects.exists()


class ApiTests(FunctionTestCase):
    PATH = "projects/helpfulness/runs/"

    def test_the_config_names_it(self) -> None:
        body = {"kind": "reinforce", "config": {"reward_function": NAME}}
        made = self.post(self.PATH, self.alice, body)
        assert made.status_code == 201
        assert made.json()["config"]["reward_function"] == NAME
        body["config"] = {"reward_function": "os:system"}
        self.refused(self.post(self.PATH, self.alice, body), 400, "config", "REWARD_FUNCTIONS")

    def test_kinds_that_sample_nothing_take_none(self) -> None:
        body = {"kind": "dpo", "config": {"reward_function": NAME}}
        self.refused(self.post(self.PATH, self.alice, body), 400, "config", "no such setting")


class ModelTests(FunctionTestCase):
    def made(self) -> ModelVersion:
        run = self.start("grpo", config={"reward_function": NAME})
        run.result = {"reward_function": {"name": NAME, "sha256": SHA256}}
        run.save()
        return add_model(
            project=self.project, kind="policy", name="checked", location="p", run=run, parent=self.policy
        )

    def test_its_card_and_its_lineage_name_the_function_and_its_source_file(self) -> None:
        version = self.made()
        card = render_model_card(version)
        assert f"Reward function: `{NAME}` (SHA-256 `{SHA256}`)." in card
        assert f"; rewarded by `{NAME}` (SHA-256 `{SHA256}`)" in card
        later = add_model(
            project=self.project, kind="policy", name="later", location="hub:some/q@main", parent=version
        )
        assert (
            f"- **checked** by {version.run}; rewarded by `{NAME}` (SHA-256 `{SHA256}`)"
            in render_model_card(later)
        )
        self.sign_in(self.alice)
        page = self.client.get(later.get_absolute_url())
        self.assertContains(page, f"rewarded by <code>{NAME}</code>")
        self.assertContains(page, f'title="SHA-256 {SHA256}"')
        self.assertContains(self.client.get(version.get_absolute_url()), f"<code>{SHA256}</code>")


@ALLOWED
class RoundTests(RoundTestCase):
    CONFIGS = TINY | {"grpo": TINY.get("grpo", {}) | {"reward_function": NAME}}

    def test_in_a_loop_it_takes_the_place_of_the_reward_model(self) -> None:
        round = self.start_round("grpo", **LENIENT)
        round.configs = self.CONFIGS
        round.save()
        run = play(round, until="answers").run_of("improve-1")
        assert run is not None
        assert run.reward_model is None
        job = json.loads((write_job(run) / "job.json").read_text())
        assert "reward_model" not in job
        assert job["config"]["reward_function"] == NAME

    def test_a_loop_names_only_functions_that_are_allowed(self) -> None:
        settings.REWARD_FUNCTIONS = []
        with pytest.raises(RunError, match="REWARD_FUNCTIONS"):
            save_loop(
                project=self.policy_project,
                creator=self.alice,
                recipe="grpo",
                options={},
                configs=self.CONFIGS,
            )
