"""How rounds move, with runs that end at once; `test_rounds_live.py` plays them on real parts."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.db import IntegrityError, transaction
from django.test import override_settings

from annotation.actions import items, snapshots
from annotation.models import AuditEntry, Item, Judgment, Member, ReviewFlag, Snapshot, User
from tests import builders
from tests.base import PalateTestCase
from tests.training.looping import fresh, loop, people_judge, played, with_policy, work
from training.configs import ConfigError
from training.errors import RunError
from training.models import Loop, ModelVersion, Round, Run
from training.registry.actions import add_model, current_model
from training.rounds import transitions
from training.rounds.loops import save_loop
from training.rounds.plan import draft_round
from training.rounds.schedule import start_due_rounds
from training.rounds.steps import step_of
from training.rounds.steps.base import StepResult
from training.rounds.steps.collect import Freeze, count_new_judgments
from training.rounds.steps.comparison import earlier_answers
from training.rounds.steps.improve import ImprovePolicy
from training.rounds.steps.reward_models import last_seen_judgment
from training.runs.actions import claim_run, finish_run, resume_run
from training.tasks import sweep_rounds


class RoundTestCase(PalateTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(ARTIFACTS=Path(folder.name))
        settings.enable()
        self.addCleanup(settings.disable)
        self.asked = with_policy(self.alice, Path("somewhere/policy"), name="Asked")
        self.first = self.asked.model_versions.get()

    def loop(self, recipe: str = "dpo", **changes: Any) -> Loop:
        return loop(self.asked, self.alice, recipe, **changes)

    def begin(self, recipe: str = "dpo", judged: int = 30, by: User | None = None, **options: Any) -> Round:
        """A round whose judgments are in."""
        people_judge(self.asked, by or self.alice, judged)
        return transitions.start_round(loop=self.loop(recipe, options=options), creator=self.alice)


class MovingTests(RoundTestCase):
    def test_a_round_goes_through_its_plan_and_promotes_its_policy(self) -> None:
        round = played(self.begin(), until="promotion")
        assert (round.state, round.step) == (Round.State.AWAITING, "promotion"), (round.error, round.gates)
        assert all(gate["passed"] for gate in round.gates)
        assert all(round.runs.get(part=part).inputs["swap"] for part in ("second", "measure-second"))
        assert round.policy_after is not None
        assert round.policy_after.name == "round-1-policy"
        before = Item.objects.count()
        round = played(transitions.decide(round, self.alice, "promoted"), until="none")
        assert (round.state, round.decision) == (Round.State.DONE, "promoted")
        assert current_model(self.asked, ModelVersion.Kind.POLICY) == round.policy_after
        assert current_model(self.asked, ModelVersion.Kind.REWARD) is not None
        assert 0 < Item.objects.count() - before <= 10

    def test_a_rejected_policy_is_not_current_and_the_old_one_answers(self) -> None:
        round = played(self.begin(), until="promotion")
        before = Item.objects.order_by("pk").last()
        round = played(transitions.decide(round, self.alice, "rejected", "It rambles."), until="none")
        assert (round.decision, round.decision_note) == ("rejected", "It rambles.")
        assert current_model(self.asked, ModelVersion.Kind.POLICY) == self.first
        assert before is not None
        for item in Item.objects.filter(pk__gt=before.pk):
            assert {answer.author for answer in item.responses.all()} == {self.first.author}

    def test_it_waits_for_judgments_and_goes_on_when_they_are_in(self) -> None:
        round = self.begin(judged=9)
        transitions.advance(round.pk)
        assert fresh(round).step == "collect"
        people_judge(self.asked, self.alice, 1)
        transitions.advance(round.pk)
        assert fresh(round).step == "rewards"

    def test_it_goes_on_where_nothing_is_left_to_judge(self) -> None:
        round = self.begin(judged=9)
        for item in self.asked.items.all():
            items.retire(item=item, actor=self.alice, reason="A test.")
        transitions.advance(round.pk)
        assert fresh(round).step == "rewards"

    def test_what_is_frozen_already_is_taken_as_it_is(self) -> None:
        round = self.begin()
        frozen = snapshots.freeze(project=self.asked, creator=self.alice)
        transitions.skip_waiting(round, self.alice)
        transitions.advance(round.pk)
        assert fresh(round).snapshot == frozen

    def test_it_is_measured_on_fresh_judgments_where_there_are_enough(self) -> None:
        round = self.begin()
        for number, held_out, after in ((1, 7, 0), (2, 11, 0), (3, 16, 20)):
            round.snapshot = Snapshot.objects.create(
                project=self.asked,
                number=number,
                counts={"judgments_held_out": held_out},
                last_judgment=10 * number,
                created_by=self.alice,
            )
            assert last_seen_judgment(round, round.snapshot) == after

    def test_judgments_of_the_safety_project_are_new_ones_too(self) -> None:
        safety = with_policy(self.alice, Path("somewhere/policy"), items=4, name="Safe")
        people_judge(self.asked, self.alice, 3)
        people_judge(safety, self.alice, 2)
        round = transitions.start_round(loop=self.loop("llama2", safety_project=safety), creator=self.alice)
        assert count_new_judgments(round) == 5

    def test_dpo_learns_from_all_or_from_what_is_new(self) -> None:
        round = played(self.begin(), until="improve-1")
        for number, held_out in ((2, 7), (3, 14)):
            round.snapshot = Snapshot.objects.create(
                project=self.asked,
                number=number,
                counts={"judgments_held_out": held_out},
                last_judgment=10 * number,
                created_by=self.alice,
            )
        for learn_from, after in (("all", None), ("new", 20)):
            round.options["learn_from"] = learn_from
            arguments = ImprovePolicy().run_arguments(round, "improve-1")
            assert arguments.inputs.get("after") == after

    def test_a_lead_can_have_it_not_wait(self) -> None:
        round = self.begin(judged=9)
        transitions.skip_waiting(round, self.alice)
        transitions.advance(round.pk)
        assert fresh(round).step == "rewards"
        with pytest.raises(RunError, match="does not wait for people"):
            transitions.skip_waiting(round, self.alice)

    def test_it_does_not_go_on_with_nothing(self) -> None:
        round = self.begin(judged=0)
        with pytest.raises(RunError, match="no judgments yet"):
            transitions.skip_waiting(round, self.alice)

    def test_looking_again_and_again_starts_nothing_twice(self) -> None:
        round = self.begin()
        for _ in range(5):
            transitions.advance(round.pk)
        parts = list(round.runs.values_list("part", flat=True))
        assert sorted(parts) == sorted(set(parts)) == ["reward", "second"]

    def test_the_database_refuses_a_part_s_second_run(self) -> None:
        round = self.begin()
        transitions.advance(round.pk)
        run = round.runs.get(part="reward")
        with pytest.raises(IntegrityError, match="a_part_of_a_round_is_run_once"), transaction.atomic():
            Run.objects.create(
                project=self.asked,
                kind="reward",
                config={},
                created_by=self.alice,
                round=round,
                part="reward",
            )
        run.superseded = True
        run.save()
        Run.objects.create(
            project=self.asked, kind="reward", config={}, created_by=self.alice, round=round, part="reward"
        )

    def test_what_breaks_in_the_middle_of_a_step_leaves_the_round_as_it_was(self) -> None:
        round = self.begin()
        freeze = Freeze.check

        def broken(step: Freeze, round: Round) -> StepResult:
            freeze(step, round)
            raise OSError("the disk is full")

        with patch.object(Freeze, "check", broken):
            transitions.advance(round.pk)
        round = fresh(round)
        assert (round.state, round.step) == (Round.State.FAILED, "freeze")
        assert "the disk is full" in round.error
        assert not self.asked.snapshots.exists()
        transitions.advance(round.pk)
        assert fresh(round).state == Round.State.FAILED, "only a lead goes on with it"
        round = played(transitions.resume(round, self.alice), until="promotion")
        assert round.step == "promotion"

    def test_a_failed_run_stops_the_round_and_its_resumption_goes_on_with_it(self) -> None:
        round = self.begin()
        transitions.advance(round.pk)
        run = claim_run(round.runs.get(part="reward").pk)
        assert run is not None
        finish_run(run, state=Run.State.FAILED, error="Out of memory.")
        transitions.advance(round.pk)
        round = fresh(round)
        assert round.state == Round.State.FAILED
        assert "Out of memory." in round.error
        resume_run(run)  # on the run's own page
        sweep_rounds()
        assert fresh(round).state == Round.State.WORKING
        assert played(round, until="promotion").step == "promotion"

    def test_the_sweep_moves_what_no_message_reached(self) -> None:
        round = self.begin()
        sweep_rounds()
        assert fresh(round).step == "rewards"

    def test_settings_are_frozen_when_it_begins(self) -> None:
        round = self.begin()
        save_loop(
            project=self.asked, creator=self.alice, loop=round.loop, recipe="grpo", options={"judgments": 99}
        )
        assert (fresh(round).recipe, fresh(round).options["judgments"]) == ("dpo", 10)

    def test_the_next_round_begins_from_the_last_and_reuses_its_answers(self) -> None:
        round = played(
            transitions.decide(played(self.begin(), until="promotion"), self.alice, "promoted"), until="none"
        )
        builders.join(self.asked, self.bob, Member.Role.ANNOTATOR)
        people_judge(self.asked, self.bob)
        people_judge(self.asked, self.alice)
        later = played(transitions.start_round(loop=round.loop, creator=self.alice), until="promotion")
        assert later.policy_before == round.policy_after
        assert later.snapshot != round.snapshot
        assert later.runs.get(part="improve-1").model == round.policy_after
        assert later.runs.get(part="measure-old-reward").model == round.runs.get(part="reward").output
        assert not later.runs.filter(part="answers-old").exists()
        assert later.runs.get(part="measure-reward").inputs["after"] in (0, round.snapshot.last_judgment)  # type: ignore[union-attr]

    def test_answers_are_taken_again_where_all_is_the_same(self) -> None:
        round = played(self.begin(), until="promotion")
        new, old = (round.runs.get(part=f"answers-{which}") for which in ("new", "old"))
        prompts = new.inputs["prompt_ids"]
        assert set(self.asked.prompts.filter(pk__in=prompts).values_list("split", flat=True)) == {"held_out"}
        assert earlier_answers(round, new.model, prompts) == new
        assert earlier_answers(round, old.model, prompts) == old
        assert earlier_answers(round, old.model, prompts[1:]) is None
        assert earlier_answers(Round(loop=self.loop(name="Another")), old.model, prompts) is None
        Run.objects.filter(pk=old.pk).update(state=Run.State.CANCELLED)
        assert earlier_answers(round, old.model, prompts) is None

    def test_it_can_begin_from_the_first_policy_each_time(self) -> None:
        round = played(
            transitions.decide(played(self.begin(start="first"), until="promotion"), self.alice, "promoted"),
            until="none",
        )
        people_judge(self.asked, self.alice)
        later = played(transitions.start_round(loop=round.loop, creator=self.alice), until="answers")
        assert later.runs.get(part="improve-1").model == self.first


class DecidingTests(RoundTestCase):
    def held(self) -> Round:
        round = played(self.begin(min_accuracy=0.9), until="improve-1")
        assert (round.state, round.step) == (Round.State.HELD, "reward-gates")
        return round

    def test_judgments_that_both_reward_models_dispute_come_to_a_reviewer_once(self) -> None:
        rows = [
            {"id": f"long-{n}", "prompt": f"How long is {n}?", "responses": ["A." * 9, "B." * 5, "C."]}
            for n in range(8)
        ]
        builders.imported(self.asked, *rows)
        round = played(self.begin(judged=100, min_accuracy=0.9), until="none")
        assert (round.state, round.step) == (Round.State.HELD, "reward-gates")
        odd = set(ReviewFlag.objects.values_list("judgment", flat=True))
        assert odd == set(round.report["odd"]), "the reward models here like length"
        for judgment in Judgment.objects.filter(pk__in=odd):
            assert judgment.item.prompt.external_id.startswith("long-")
        step_of(round.step).check(round)
        step_of(round.step).check(round)
        assert ReviewFlag.objects.count() == len(odd) > 0

    def test_a_gate_holds_the_round_and_says_why(self) -> None:
        round = self.held()
        assert "Not passed: Accuracy." in round.error
        assert current_model(self.asked, ModelVersion.Kind.REWARD) is None
        transitions.advance(round.pk)
        assert fresh(round).state == Round.State.HELD

    def test_it_is_overruled_with_a_reason_that_stays(self) -> None:
        round = self.held()
        with pytest.raises(RunError, match="Say why"):
            transitions.overrule(round, self.alice, "  ")
        transitions.overrule(round, self.alice, "Small data.")
        round = fresh(round)
        assert (round.state, round.step) == (Round.State.WORKING, "improve-1")
        assert round.overrules[0]["reason"] == "Small data."
        assert round.overrules[0]["gates"] == ["Accuracy"]
        entry = AuditEntry.objects.get(verb="round.overruled")
        assert (entry.actor, entry.data["reason"]) == (self.alice, "Small data.")
        assert current_model(self.asked, ModelVersion.Kind.REWARD) is not None

    def test_each_gate_has_a_reason_of_its_own(self) -> None:
        round = played(self.begin(min_accuracy=0.9, max_kl=1.0), until="none")
        round = played(transitions.overrule(round, self.alice, "Small data."), until="none")
        assert (round.state, round.step) == (Round.State.HELD, "policy-gates")
        transitions.overrule(round, self.alice, "It may stray.")
        said = [(one["reason"], one["gates"]) for one in fresh(round).overrules]
        assert said == [("Small data.", ["Accuracy"]), ("It may stray.", ["KL budget"])]

    def test_it_promotes_by_itself_only_where_every_gate_was_passed(self) -> None:
        round = played(self.begin(promote_alone=True), until="none")
        assert (round.state, round.decision, round.decided_by) == (Round.State.DONE, "promoted", None)
        people_judge(self.asked, self.alice)
        loop = round.loop
        loop.options |= {"min_accuracy": 0.9}
        loop.save()
        later = played(transitions.start_round(loop=loop, creator=self.alice), until="none")
        assert later.state == Round.State.HELD
        later = played(transitions.overrule(later, self.alice, "Why not."), until="none")
        assert later.state == Round.State.AWAITING

    def test_one_round_goes_on_at_a_time(self) -> None:
        round = self.begin()
        with pytest.raises(RunError, match="Round 1 is still open"):
            transitions.start_round(loop=round.loop, creator=self.alice)
        with pytest.raises(IntegrityError, match="one_open_round_per_loop"), transaction.atomic():
            Round.objects.filter(pk=round.pk).update(pk=None) if False else Round(
                loop=round.loop, number=9, plan=round.plan, step="collect", step_since=round.step_since,
                recipe="dpo", options={}, policy_before=self.first,
            ).save()  # fmt: skip

    def test_a_cancelled_round_stops_its_runs_and_can_be_resumed(self) -> None:
        round = self.begin()
        transitions.advance(round.pk)
        transitions.cancel(round, self.alice)
        assert set(round.runs.values_list("state", flat=True)) == {"cancelled"}
        transitions.advance(round.pk)
        assert fresh(round).state == Round.State.CANCELLED
        with pytest.raises(RunError, match="cancelled now"):
            transitions.cancel(round, self.alice)
        resumed = transitions.resume(round, self.alice)
        assert played(resumed, until="promotion").step == "promotion"

    def test_it_is_not_resumed_while_another_one_is_open(self) -> None:
        round = self.begin()
        transitions.cancel(round, self.alice)
        transitions.start_round(loop=round.loop, creator=self.alice)
        with pytest.raises(RunError, match="Another round"):
            transitions.resume(round, self.alice)
        assert fresh(round).state == Round.State.CANCELLED

    def test_part_of_it_can_be_done_again(self) -> None:
        round = played(self.begin(), until="promotion")
        old = round.policy_after
        transitions.retry(round, self.alice, "improve-1")
        assert {gate["step"] for gate in fresh(round).gates} == {"reward-gates"}
        assert fresh(round).report == {"odd": []}, "of the reward models' gates, which are not repeated"
        again = played(round, until="promotion")
        assert again.policy_after != old
        assert again.policy_after is not None
        assert again.policy_after.name == "round-1-policy-2"
        assert again.runs.filter(part="improve-1").count() == 2
        for step in ("collect", "questions", "nonsense"):
            with pytest.raises(RunError, match="reached"):
                transitions.retry(round, self.alice, step)

    def test_a_retry_of_the_gates_keeps_the_human_comparison_and_one_from_before_repeats_it(self) -> None:
        round = played(self.begin(people_compare=4), until="people")
        items = fresh(round).report["people_items"]
        assert len(items) == 4
        transitions.skip_waiting(round, self.alice)
        round = played(round, until="promotion")
        assert {"people_items", "wins"} <= set(round.report)
        transitions.retry(round, self.alice, "policy-gates")
        assert fresh(round).report == {"odd": [], "people_items": items}
        round = played(round, until="promotion")
        transitions.retry(round, self.alice, "improve-1")
        round = played(round, until="people")
        assert not set(items) & set(fresh(round).report["people_items"])

    def test_what_is_done_again_stops_what_was_under_way_for_good(self) -> None:
        round = self.begin()
        transitions.advance(round.pk)
        old = list(round.runs.values_list("pk", flat=True))
        with pytest.raises(RunError, match="that it has reached"):
            transitions.retry(round, self.alice, "improve-1")
        transitions.retry(round, self.alice, "rewards")
        assert set(round.runs.filter(pk__in=old).values_list("state", flat=True)) == {"cancelled"}
        transitions.cancel(round, self.alice)
        transitions.resume(round, self.alice)
        states = dict(round.runs.values_list("pk", "state"))
        assert {pk: state == "cancelled" for pk, state in states.items()} == {pk: pk in old for pk in states}
        assert len(states) == 2 * len(old) == 4

    def test_what_people_ask_of_it_is_noted(self) -> None:
        round = self.begin(judged=9)
        transitions.cancel(round, self.alice)
        transitions.resume(round, self.alice)
        transitions.skip_waiting(round, self.alice)
        transitions.retry(played(round, until="promotion"), self.alice, "policy-gates")
        transitions.decide(played(round, until="promotion"), self.alice, "rejected")
        audit_entries = (
            AuditEntry.objects.filter(verb__startswith="round.").order_by("id").select_related("actor")
        )
        assert [entry.verb.removeprefix("round.") for entry in audit_entries] == [
            "started",
            "cancelled",
            "resumed",
            "hastened",
            "retried",
            "rejected",
        ]
        assert {entry.actor for entry in audit_entries} == {self.alice}
        with pytest.raises(RunError, match="before its decision"):
            transitions.retry(round, self.alice, "policy-gates")

    def test_what_the_state_does_not_allow_is_refused(self) -> None:
        round = self.begin()
        for act in (
            lambda: transitions.decide(round, self.alice, "promoted"),
            lambda: transitions.overrule(round, self.alice, "Because."),
            lambda: transitions.resume(round, self.alice),
        ):
            with pytest.raises(RunError, match="Round 1 is working now"):
                act()


class BeginningTests(RoundTestCase):
    def test_it_needs_a_policy_and_prompts(self) -> None:
        with pytest.raises(RunError, match="no policy yet"):
            loop(self.project, self.alice)

    def test_a_loop_s_settings_are_checked(self) -> None:
        with pytest.raises(ConfigError, match="judgments"):
            self.loop(options={"judgments": 0})
        with pytest.raises(ConfigError, match="epochs"):
            save_loop(
                project=self.asked,
                creator=self.alice,
                recipe="dpo",
                options={},
                configs={"dpo": {"epochs": 0}},
            )
        with pytest.raises(RunError, match="must be another project"):
            self.loop(safety_project=self.asked)

    def test_rounds_begin_by_themselves_after_so_many_judgments(self) -> None:
        self.loop(after_judgments=5)
        assert start_due_rounds() == []
        people_judge(self.asked, self.alice, 5)
        (round,) = start_due_rounds()
        assert round.created_by is None
        assert start_due_rounds() == [], "one is open"
        assert AuditEntry.objects.get(verb="round.started").actor is None

    def test_a_loop_that_rests_begins_none(self) -> None:
        self.loop(after_judgments=5, active=False)
        people_judge(self.asked, self.alice, 5)
        assert start_due_rounds() == []

    def test_rounds_begin_by_themselves_on_their_day_once(self) -> None:
        self.loop(weekdays=[0], hour=6)
        sunday, early, monday = (
            datetime(2026, 11, day, hour, tzinfo=UTC) for day, hour in ((22, 9), (23, 5), (23, 6))
        )
        assert start_due_rounds(sunday) == start_due_rounds(early) == []
        (round,) = start_due_rounds(monday)
        Round.objects.filter(pk=round.pk).update(state="cancelled", finished_at=monday, created_at=monday)
        assert start_due_rounds(monday) == []

    def test_where_nothing_waits_the_policy_answers_first(self) -> None:
        empty = builders.project(self.alice, "Empty", k=3)
        add_model(project=empty, kind="policy", name="first", location="x")
        builders.imported(empty, *({"id": f"p{n}", "prompt": f"What is {n}?"} for n in range(30)))
        round = transitions.start_round(loop=loop(empty, self.alice), creator=self.alice)
        assert round.step == "first-answers"
        assert work(round) == ["first-1"]
        transitions.advance(round.pk)
        assert fresh(round).step == "collect"
        asked = Item.objects.filter(project=empty)
        assert asked.count() == 10
        assert asked.filter(prompt__split="held_out").count() == 2
        for split in ("train", "held_out"):
            chances = asked.filter(prompt__split=split).values_list("probability", flat=True)
            in_all = empty.prompts.filter(split=split).count()
            assert list(chances) == pytest.approx([len(chances) / in_all] * len(chances))

    def test_it_says_what_it_will_take_by_what_others_took(self) -> None:
        one = self.loop()
        assert draft_round(one).estimate["unknown"] == ["dpo", "evaluate", "generate", "reward"]
        for kind, seconds in (("reward", 60), ("dpo", 100), ("evaluate", 5), ("generate", 10)):
            Run.objects.create(
                project=self.asked,
                kind=kind,
                state="done",
                config={},
                result={"seconds": seconds},
                created_by=self.alice,
            )
        estimate = draft_round(one).estimate
        assert estimate["unknown"] == []
        assert estimate["seconds"] == 60 + 5 + 100 + 10 + 5 + 10 + 5
        assert estimate["steps"]["improve-1"] == 100

    def test_a_part_goes_by_its_like_and_not_by_the_playground(self) -> None:
        one = self.loop()
        for seconds, fields in (
            (10, {"inputs": {"prompts": 5}}),
            (1, {"inputs": {"ask": "Who are you?"}}),
            (90, {"part": "fresh-1"}),
        ):
            Run.objects.create(
                project=self.asked,
                kind="generate",
                state="done",
                config={},
                result={"seconds": seconds},
                created_by=self.alice,
                **fields,
            )
        steps = draft_round(one).estimate["steps"]
        assert steps["fresh-answers"] == 90, "the same part of a round"
        assert steps["answers"] == (10 + 90) / 2, "its kind, without the question"
