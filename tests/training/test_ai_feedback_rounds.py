"""Rounds with an AI judge: what it judges, when its opinions count, and who learns from them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from annotation.actions.constitutions import write_constitution
from annotation.logic.principles import STARTING_PRINCIPLES, read_principles
from annotation.models import Judgment
from tests import builders
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import TINY, finish_runs, play, project_with_policy, reload
from training.configs import ConfigError
from training.errors import RunError
from training.models import Round, Run
from training.rounds import transitions
from training.rounds.item_sampling import AnswerSets
from training.rounds.loops import check_principles, save_loop
from training.rounds.plan import round_context
from training.rounds.recipes import RECIPES
from training.rounds.settings import settings_from
from training.rounds.steps.ai_feedback import judge_model, judge_run, unsure_shares
from training.rounds.steps.new_items import NewAnswers, SendNewAnswers

PRINCIPLES = [
    {
        "key": "kind",
        "compare": "Which is kinder?",
        "critique": "Name what is rude.",
        "revise": "Be kind.",
        "comment": {"start": "That was", "good": "warm", "bad": "rude"},
    }
]
BLIND = {"judge": {"mode": "comment", "scale": 0.5}}


class AIRoundTestCase(RoundTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.policy_project = project_with_policy(
            self.alice, "hub:somewhere/policy@main", name="Judged twice", overlap=2
        )
        self.first = self.policy_project.model_versions.get()
        # enough of them that the judge's agreement with people is known
        half = list(self.policy_project.prompts.order_by("pk").values_list("pk", flat=True))[::2]
        self.policy_project.prompts.update(split="train")
        self.policy_project.prompts.filter(pk__in=half).update(split="held_out")
        builders.join(self.policy_project, self.bob, "annotator")
        write_constitution(
            project=self.policy_project, principles=read_principles(PRINCIPLES), author=self.alice
        )

    def judged_round(self, recipe: str, configs: dict[str, Any] | None = None, **options: Any) -> Round:
        """A round past the gate of its judge, or held there; two people have judged all items but the last six."""
        for person in (self.alice, self.bob):
            for _ in range(30):
                builders.judgment(self.policy_project, person)
        builders.items(self.policy_project, 6, k=3, prefix="new-")
        self.policy_project.prompts.filter(external_id__startswith="new-").update(split="train")
        loop = self.make_loop(recipe, options=options)
        loop.configs = TINY | (configs or {})
        loop.save()
        round = transitions.start_round(loop=loop, creator=self.alice)
        return play(round, until="rewards")

    def rows(self, run: Run) -> list[dict[str, Any]]:
        with (run.folder / "data.jsonl").open() as lines:
            return [json.loads(line) for line in lines]


class TestAJudgeThatPeopleAgreeWith(AIRoundTestCase):
    def test_its_opinions_on_prompts_that_nobody_judged_train_beside_people_s_judgments(self) -> None:
        round = self.judged_round("mixed", ai_prompts=0)
        assert round.step == "rewards"
        run = round.run_of("judge")
        assert run is not None
        assert run.output_opinion_set is not None
        assert round.report["ai"]["weight"] > 0
        finish_runs(round)
        reward, second = round.run_of("reward"), round.run_of("second")
        assert reward is not None
        assert reward.opinion_set == run.output_opinion_set
        assert second is None or second.opinion_set is None
        rows = self.rows(reward)
        soft = [row for row in rows if "pairs" in row]
        people = {row["prompt_id"] for row in rows if "ranks" in row and row["split"] == "train"}
        assert soft
        assert people
        assert not people & {row["id"] for row in soft}
        assert {row["split"] for row in soft} == {"train"}
        assert {row["weight"] for row in soft} == {round.report["ai"]["weight"]}

    def test_in_rlaif_only_opinions_train_and_people_measure(self) -> None:
        round = self.judged_round("rlaif", ai_prompts=0)
        finish_runs(round)
        reward = round.run_of("reward")
        assert reward is not None
        rows = self.rows(reward)
        assert {row["split"] for row in rows if "ranks" in row} == {"held_out"}
        assert any("pairs" in row for row in rows)
        round = play(reload(round), until="answers")
        dpo = round.run_of("improve-1")
        assert dpo is not None
        assert dpo.opinion_set == reward.opinion_set

    def test_no_judgment_is_counted_that_a_person_did_not_make(self) -> None:
        round = self.judged_round("mixed", ai_prompts=0)
        assert Judgment.objects.filter(item__project=self.policy_project).count() == 60
        assert round.snapshot is not None
        assert round.snapshot.counts["judgments"] == 60

    def test_in_direct_rlaif_its_score_is_the_reward(self) -> None:
        round = play(self.judged_round("rlaif-direct"), until="answers")
        run = round.run_of("improve-1")
        assert run is not None
        assert run.judge == self.first
        assert run.reward_model is None
        job = json.loads((run.folder / "job.json").read_text())
        assert job["judge"]
        assert "reward_model" not in job
        assert job["principles"][0]["key"] == "kind"


class TestAJudgeThatPeopleDisagreeWith(AIRoundTestCase):
    def test_people_and_ai_goes_on_without_it(self) -> None:
        round = self.judged_round("mixed", BLIND, ai_prompts=0)
        gate = next(gate for gate in round.gates if gate["name"] == "ai_agreement")
        assert not gate["passed"]
        assert round.step == "rewards"
        assert round.failed_gates == []
        reward = round.run_of("reward")
        assert reward is not None
        assert reward.opinion_set is None
        assert "pairs" not in self.rows(reward)[0] if (reward.folder / "data.jsonl").exists() else True

    def test_rlaif_is_held_until_a_lead_overrules(self) -> None:
        round = self.judged_round("rlaif", BLIND, ai_prompts=0)
        assert round.state == Round.State.HELD
        transitions.overrule(round, self.alice, "I have read its opinions.")
        round = reload(round)
        assert round.report["ai"]["weight"] == 1.0
        transitions.advance(round.pk)
        reward = reload(round).run_of("reward")
        assert reward is not None
        assert reward.opinion_set is not None


class TestConstitutionalAI(AIRoundTestCase):
    def test_revisions_are_learned_before_ppo(self) -> None:
        self.policy_project.prompts.filter(external_id__in=["p1", "p3", "p5"]).update(tags=["safety"])
        round = self.judged_round("cai", ai_prompts=0)
        judge = round.run_of("judge")
        assert judge is not None
        assert judge.inputs["tag"] == "safety"
        assert {tag for row in self.rows(judge) for tag in row["tags"]} == {"safety"}
        round = play(round, until="answers")
        revise, sft, ppo = (round.run_of(part) for part in ("revise", "improve-1", "improve-2"))
        assert revise is not None
        assert sft is not None
        assert ppo is not None
        assert sft.inputs["revisions"] == revise.pk
        assert self.rows(sft)[0]["messages"][-1] == {"role": "assistant", "content": "Kind."}
        assert ppo.model == getattr(sft, "output", None)

    def test_annotators_get_no_answers_to_prompts_that_are_the_judge_s(self) -> None:
        self.policy_project.prompts.update(tags=["safety"])
        round = self.judged_round("cai", ai_prompts=0)
        self.policy_project.prompts.update(tags=["safety"])
        before = self.policy_project.items.count()
        round = play(round, until="promotion")
        transitions.decide(round, self.alice, Round.Decision.REJECTED, "no")
        round = play(reload(round), until="nowhere")
        assert round.state == Round.State.DONE
        assert self.policy_project.items.count() == before


class TestTheCascade(AIRoundTestCase):
    def cascade(self, threshold: float | None) -> Round:
        """The next round, which collects, after one that sent new answers to annotators by the cascade."""
        round = self.judged_round(
            "mixed", ai_prompts=0, strategy="cascade", budget=20, control_share=0.0, judgments=10
        )
        round.report["ai"] |= {"threshold": threshold}
        round.save()
        round = play(round, until="promotion")
        transitions.decide(round, self.alice, Round.Decision.PROMOTED, "better")
        return play(reload(round), until="nowhere")

    def test_annotators_rarely_get_what_the_judge_is_sure_of(self) -> None:
        round = self.cascade(0.0)
        run = round.run_of("score-judge")
        assert run is not None
        assert run.output_opinion_set is not None
        assert set(unsure_shares(round).values()) == {0.0}
        answers = AnswerSets(round.loop.project, NewAnswers().runs(round, round.loop.project), [])
        assert set(SendNewAnswers().weights(round, answers).values()) == {0.1}
        round.report["ai"] |= {"threshold": 0.5}
        assert set(SendNewAnswers().weights(round, answers).values()) == {1.0}

    def test_the_next_round_does_not_ask_again(self) -> None:
        before = self.cascade(0.0)
        asked = before.run_of("score-judge")
        builders.judgment(self.policy_project, self.bob)
        round = play(transitions.start_round(loop=before.loop, creator=self.alice), until="collect")
        round = play(transitions.skip_waiting(round, self.alice), until="rewards")
        assert round.run_of("judge") is None
        assert judge_run(round) == asked
        write_constitution(
            project=self.policy_project,
            principles=read_principles([PRINCIPLES[0] | {"key": "other"}]),
            author=self.alice,
        )
        assert judge_run(round) is None

    def test_without_a_threshold_nobody_is_asked_and_the_draw_is_random(self) -> None:
        round = self.cascade(None)
        assert round.run_of("score-judge") is None
        answers = AnswerSets(round.loop.project, NewAnswers().runs(round, round.loop.project), [])
        assert set(SendNewAnswers().weights(round, answers).values()) == {1.0}
        assert round.report["asked"] > 0

    def test_it_needs_a_recipe_that_learns_from_people_and_ai(self) -> None:
        for recipe in ("dpo", "rlaif", "cai"):
            with pytest.raises(ConfigError, match="people and an AI judge"):
                settings_from({"strategy": "cascade"}, recipe)


class TestWhatARoundNeeds(AIRoundTestCase):
    def test_a_judge_that_is_no_policy_of_the_project_fails_with_its_name(self) -> None:
        round = Round(loop=self.make_loop("mixed"), options={"judge": "nobody"}, recipe="mixed")
        with pytest.raises(RunError, match="nobody"):
            judge_model(round)

    def test_a_loop_is_not_saved_with_such_a_judge(self) -> None:
        loop = self.make_loop("mixed")
        with pytest.raises(RunError, match="nobody"):
            save_loop(
                project=self.policy_project,
                creator=self.alice,
                loop=loop,
                recipe="mixed",
                options={"judge": "nobody"},
            )
        save_loop(
            project=self.policy_project,
            creator=self.alice,
            loop=loop,
            recipe="dpo",
            options={"judge": "nobody"},
        )

    def test_a_round_does_not_start_where_no_principle_says_what_a_run_of_it_needs(self) -> None:
        principles = read_principles([{"key": "kind", "compare": "Which is kinder?"}])
        write_constitution(project=self.policy_project, principles=principles, author=self.alice)
        for recipe in ("mixed", "rlaif-direct", "cai"):
            with pytest.raises(RunError, match="what the mode comment needs: comment"):
                transitions.start_round(loop=self.make_loop(recipe), creator=self.alice)
        assert not Round.objects.exists()

    def test_the_starting_principles_are_enough_for_every_recipe_with_a_judge(self) -> None:
        write_constitution(project=self.policy_project, principles=STARTING_PRINCIPLES, author=self.alice)
        for recipe in RECIPES.values():
            if recipe.needs_ai:
                loop = self.make_loop(recipe.name)
                loop.configs = {}
                check_principles(loop)

    def test_the_judge_alone_answers_more_prompts(self) -> None:
        loop = self.make_loop("mixed", options={"ai_prompts": 7})
        assert round_context(loop).settings.ai_prompts == 7
