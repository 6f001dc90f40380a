"""What runs with AI feedback need before they start, what they are given, and what becomes of their output."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.urls import reverse
from django.utils.html import strip_tags

from annotation.actions.constitutions import write_constitution
from annotation.actions.snapshots import create_snapshot
from annotation.logic.principles import read_principles
from annotation.models import Judgment, Opinion, OpinionSet
from tests import builders
from tests.opinions import opinion_set
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import project_with_policy, write_output
from training.errors import RunError
from training.models import Run
from training.registry.actions import add_model
from training.registry.model_card import render_model_card
from training.runs.actions import claim_run, finish_run, resume_run, start_run
from training.runs.forms import RunForm
from training.runs.outputs import save_output, store_output
from training.tasks import CoreReport

PRINCIPLES = [{"key": "kind", "compare": "Which is kinder?"}]
REVISING = {"critique": "Name what is rude.", "revise": "Be kind."}


class AIRunTestCase(RoundTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.other = project_with_policy(self.alice, "hub:somewhere/other@main", name="Other", items=3)

    def write_constitution(self, **texts: Any) -> None:
        principles = read_principles([PRINCIPLES[0] | texts])
        write_constitution(project=self.policy_project, principles=principles, author=self.alice)

    def start(self, kind: str, **changes: Any) -> Run:
        return start_run(project=self.policy_project, kind=kind, creator=self.alice, **changes)

    def refusal(self, kind: str, **changes: Any) -> RunError:
        with pytest.raises(RunError) as caught:
            self.start(kind, **changes)
        return caught.value

    def done(self, run: Run) -> Run:
        claimed = claim_run(run.pk)
        assert claimed is not None
        result = write_output(claimed)
        store_output(claimed)
        finish_run(claimed, state=Run.State.DONE, result=result | save_output(claimed))
        return Run.objects.select_related("output", "output_opinion_set").get(pk=run.pk)

    def rows(self, run: Run) -> list[dict[str, Any]]:
        with (run.folder / "data.jsonl").open() as lines:
            return [json.loads(line) for line in lines]


class TestAJudgeRun(AIRunTestCase):
    def test_it_needs_a_constitution_of_its_project(self) -> None:
        assert self.refusal("judge").field == "constitution"
        write_constitution(project=self.other, principles=read_principles(PRINCIPLES), author=self.alice)
        assert self.refusal("judge", constitution=self.other.constitutions.get()).field == "constitution"

    def test_a_principle_needs_what_the_mode_reads(self) -> None:
        self.write_constitution()
        for kind, config in (("judge", {"mode": "comment"}), ("revise", {"mode": "write"})):
            error = self.refusal(kind, config=config)
            assert error.field == "constitution"
            assert config["mode"] in str(error)
        error = self.refusal("grpo", judge=self.first, config={"judge_mode": "comment"})
        assert "needs: comment" in str(error)
        assert self.start("grpo", judge=self.first).config["judge_mode"] == "score", (
            "what these principles have"
        )

    def test_what_it_would_not_use_is_refused(self) -> None:
        self.write_constitution()
        assert self.refusal("judge", judge=self.first).field == "judge"
        constitution = self.policy_project.constitutions.get()
        assert self.refusal("generate", constitution=constitution).field == "constitution"

    def test_it_needs_answers_to_compare(self) -> None:
        self.write_constitution()
        assert self.refusal("judge", inputs={"tag": "nowhere"}).field == "tag"
        self.policy_project.prompts.update(split="train")
        assert self.refusal("judge", inputs={"split": "held_out"}).field == "prompts"

    def test_what_people_judged_comes_first_and_each_pair_is_stored_once(self) -> None:
        self.write_constitution()
        judged = [builders.judgment(self.policy_project, self.alice).item.prompt_id for _ in range(3)]
        run = self.done(self.start("judge", inputs={"prompts": 5}))
        rows = self.rows(run)
        assert {row["id"] for row in rows[:3]} == set(judged)
        assert len(rows) == 5
        assert rows[0]["pairs"] == [[0, 1], [0, 2], [1, 2]]
        stored = run.output_opinion_set
        assert stored is not None
        assert stored.judge == "first"
        assert Opinion.objects.filter(opinion_set=stored).count() == 15
        assert json.loads((run.folder / "job.json").read_text())["principles"][0]["key"] == "kind"
        assert Judgment.objects.filter(item__project=self.policy_project).count() == 3

    def finish(self, lines: list[dict[str, Any]], **result: Any) -> Run:
        """A judge run whose core wrote these opinions, after its worker saved them."""
        self.write_constitution()
        claimed = claim_run(self.start("judge", inputs={"prompts": 1}).pk)
        assert claimed is not None
        write_output(claimed)
        output = claimed.folder / "output"
        row = self.rows(claimed)[0]
        (output / "opinions.jsonl").write_text(
            "".join(json.dumps({"id": row["id"], "scores": None} | line) + "\n" for line in lines)
        )
        opinions = sum(len(line["opinions"]) for line in lines)
        costs = {"tokens_in": 10, "tokens_out": 2, "cost": 0.0}
        (output / "result.json").write_text(
            json.dumps({"opinions": opinions, "ended_by": None} | costs | result)
        )
        report = CoreReport()
        report.exit_code = 0
        report.save(claimed)
        return Run.objects.select_related("output_opinion_set").get(pk=claimed.pk)

    def test_pairs_without_an_opinion_are_counted(self) -> None:
        one = {"first": 0, "second": 1, "p": 0.9}
        run = self.finish([{"opinions": [one], "no_opinion": [[0, 2], [1, 2]]}])
        assert run.output_opinion_set is not None
        counts = {"prompts": 1, "comparisons": 3, "opinions": 1, "no_opinion": 2}
        assert run.output_opinion_set.counts == counts

    def test_a_judge_that_answers_nothing_readable_fails_with_a_sentence(self) -> None:
        run = self.finish([{"opinions": [], "no_opinion": [[0, 1], [0, 2], [1, 2]]}])
        assert run.state == Run.State.FAILED
        assert "has no opinion on any two responses" in run.error

    def test_a_limit_before_the_first_opinion_is_named(self) -> None:
        run = self.finish([], ended_by="max_cost")
        assert run.state == Run.State.FAILED
        assert "the limit max_cost ended the run" in run.error
        # it would fail again at once: another run with a higher limit is offered
        self.client.force_login(self.alice, backend="annotation.backends.AccountBackend")
        page = self.client.get(run.get_absolute_url())
        self.assertNotContains(page, reverse("run-resume", args=[self.policy_project.slug, run.pk]))
        self.assertContains(page, f"?like={run.pk}")
        with pytest.raises(RunError, match="failed at its limit max_cost, and would again"):
            resume_run(run)
        run.refresh_from_db()
        assert run.state == Run.State.FAILED

    def test_opinions_that_cannot_be_stored_end_the_run(self) -> None:
        run = self.finish([{"opinions": [{"first": 0, "second": 1, "p": 1.5}], "no_opinion": []}])
        assert run.state == Run.State.FAILED
        assert "is not a probability" in run.error

    def test_a_long_name_of_a_server_s_model_is_cut(self) -> None:
        self.write_constitution()
        with self.settings(MODEL_SERVERS=["http://judge/v1"]):
            run = self.start("judge", config={"server": "http://judge/v1", "server_model": "m" * 400})
        stored = self.done(run).output_opinion_set
        assert stored is not None
        assert stored.judge == "m" * 300

    def test_a_tag_limits_it_to_prompts_with_that_tag(self) -> None:
        self.write_constitution()
        self.policy_project.prompts.filter(external_id="p4").update(tags=["harm"])
        run = self.done(self.start("judge", inputs={"tag": "harm"}))
        assert [row["tags"] for row in self.rows(run)] == [["harm"]]


class TestARunThatLearnsFromOpinions(AIRunTestCase):
    def setUp(self) -> None:
        super().setUp()
        for _ in range(12):
            builders.judgment(self.policy_project, self.alice)
        self.snapshot = create_snapshot(project=self.policy_project, creator=self.alice)
        self.opinions: OpinionSet = opinion_set(self.policy_project, self.alice, lambda a, b: 0.8)

    def learn(self, **inputs: Any) -> Run:
        return self.start(
            "reward",
            snapshot=self.snapshot,
            opinion_set=self.opinions,
            inputs={"ai_weight": 0.5, "ai_scale": 1.0} | inputs,
        )

    def test_opinions_of_a_judge_that_nobody_measured_have_no_weight(self) -> None:
        error = self.refusal("reward", snapshot=self.snapshot, opinion_set=self.opinions)
        assert error.field == "opinion_set"

    def test_opinions_are_of_this_project_and_for_kinds_that_learn_from_them(self) -> None:
        foreign = opinion_set(self.other, self.alice, lambda a, b: 0.8)
        inputs = {"ai_weight": 0.5, "ai_scale": 1.0}
        for kind, judged in (("reward", foreign), ("evaluate", self.opinions)):
            if kind == "evaluate":
                add_model(
                    project=self.policy_project, kind="reward", name="rm", location="hub:somewhere/rm@main"
                )
            error = self.refusal(kind, snapshot=self.snapshot, opinion_set=judged, inputs=inputs)
            assert error.field == "opinion_set"
        assert self.refusal_of(ai="sometimes").field == "ai"

    def refusal_of(self, **inputs: Any) -> RunError:
        with pytest.raises(RunError) as caught:
            self.learn(**inputs)
        return caught.value

    def test_a_soft_label_is_recalibrated_and_weighted(self) -> None:
        run = self.done(self.learn(ai_scale=2.0))
        soft = [row for row in self.rows(run) if "pairs" in row]
        assert soft[0]["weight"] == 0.5
        assert soft[0]["pairs"][0][:2] == [0, 1]
        assert soft[0]["pairs"][0][2] == pytest.approx(16 / 17)  # the odds of 4, squared

    def test_a_model_that_learned_from_opinions_only_is_traced_to_no_judgment(self) -> None:
        run = self.done(self.learn(ai="only"))
        assert all("pairs" in row for row in self.rows(run) if row["split"] == "train")
        assert run.training_snapshot is None
        assert run.training_opinion_set == self.opinions
        card = render_model_card(run.output)
        assert self.opinions.sha256 in card
        assert "of weight 0.50" in card
        assert self.snapshot.sha256 not in card

    def test_the_page_of_the_set_lists_it_with_its_weight(self) -> None:
        url = reverse("opinion-set-runs", args=[self.policy_project.slug, self.opinions.number])
        self.client.force_login(self.alice)
        self.assertContains(self.client.get(url), "No run has learned from them.")
        run = self.learn()
        self.assertContains(self.client.get(url), reverse("run", args=[self.policy_project.slug, run.pk]))
        self.assertContains(self.client.get(url), "weight 0.50")
        set_url = reverse("opinion-set", args=[self.policy_project.slug, self.opinions.number])
        self.assertContains(self.client.get(set_url), f'hx-get="{url}"')

    def test_only_leads_and_reviewers_of_the_project_see_that_list(self) -> None:
        url = reverse("opinion-set-runs", args=[self.policy_project.slug, self.opinions.number])
        assert self.client.get(url).status_code == 302
        builders.join(self.policy_project, self.bob, "annotator")
        for user, status in ((self.bob, 403), (self.charlie, 404)):
            self.client.force_login(user)
            assert self.client.get(url).status_code == status
        self.client.force_login(self.alice)
        missing = reverse("opinion-set-runs", args=[self.policy_project.slug, 99])
        assert self.client.get(missing).status_code == 404
        elsewhere = reverse("opinion-set-runs", args=[self.other.slug, self.opinions.number])
        assert self.client.get(elsewhere).status_code == 404

    def test_the_form_offers_them_beside_people_s_judgments(self) -> None:
        assert "opinion_set" in RunForm(self.policy_project, "reward").fields
        assert "opinion_set" not in RunForm(self.other, "reward").fields


class TestThePages(AIRunTestCase):
    def text(self, name: str, *args: object) -> str:
        self.client.force_login(self.alice)
        page = self.client.get(reverse(name, args=[self.policy_project.slug, *args])).content.decode()
        return " ".join(strip_tags(page).split())

    def test_a_run_says_which_server_s_model_judged_by_which_constitution(self) -> None:
        self.write_constitution()
        with self.settings(MODEL_SERVERS=["http://judge/v1"]):
            run = self.start("judge", config={"server": "http://judge/v1", "server_model": "big"})
        shown = "from big at http://judge/v1, by Constitution, version 1 · started by alice"
        assert shown in self.text("run", run.pk)

    def test_the_list_of_runs_leads_to_the_opinions(self) -> None:
        self.write_constitution()
        stored = self.done(self.start("judge")).output_opinion_set
        assert str(stored) in self.text("runs")


class TestRevisions(AIRunTestCase):
    def test_fine_tuning_learns_from_those_of_its_project_that_are_done(self) -> None:
        self.write_constitution(**REVISING)
        run = self.start("revise", inputs={"prompts": 4})
        assert self.refusal("sft", inputs={"revisions": run.pk}).field == "revisions"
        assert self.refusal("sft", inputs={"revisions": run.pk + 1000}).field == "revisions"
        self.done(run)
        tuned = self.done(self.start("sft", inputs={"revisions": run.pk}))
        assert {row["messages"][-1]["content"] for row in self.rows(tuned)} == {"Kind."}


class TestAJudgeAsTheReward(AIRunTestCase):
    def test_it_takes_the_place_of_the_reward_model(self) -> None:
        self.write_constitution()
        rewards = add_model(
            project=self.policy_project, kind="reward", name="rm", location="hub:somewhere/rm@main"
        )
        config = {"judge_mode": "score"}
        error = self.refusal("grpo", judge=self.first, reward_model=rewards, config=config)
        assert error.field == "reward_model"
        run = self.start("grpo", judge=self.first, config=config)
        assert run.reward_model is None
        assert run.constitution is not None

    def test_it_is_a_policy_of_the_project(self) -> None:
        self.write_constitution()
        assert self.refusal("grpo", judge=self.other.model_versions.get()).field == "judge"


class TestTheApi(AIRunTestCase):
    def post(self, body: dict[str, Any]) -> Any:
        self.client.force_login(self.alice)
        return self.client.post(
            f"/api/v1/projects/{self.policy_project.slug}/runs/", body, content_type="application/json"
        )

    def test_a_run_names_what_it_goes_by(self) -> None:
        self.write_constitution()
        made = self.post({"kind": "judge", "inputs": {"prompts": 3}})
        assert made.status_code == 201, made.content
        assert made.json()["constitution"] == 1
        assert made.json()["opinion_set"] is None

    def test_a_number_that_is_none_is_an_error_at_its_field(self) -> None:
        for field in ("constitution", "opinion_set", "judge"):
            answer = self.post({"kind": "judge", field: 77})
            assert answer.status_code == 400
            assert field in answer.json()["errors"]
