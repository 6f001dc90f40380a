"""How rounds move, with runs that end at once; `test_rounds_live.py` plays them on real parts."""

from __future__ import annotations

import json
from unittest.mock import patch

import pytest
from django.db import IntegrityError, transaction

from annotation.actions import items, snapshots
from annotation.models import Item, Member, Prompt, Snapshot
from tests import builders
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import (
    judge_items,
    play,
    project_with_policy,
    reload,
)
from training.errors import RunError
from training.models import ModelVersion, Round, Run
from training.registry.actions import add_model, current_model
from training.registry.model_sources import staged_folder
from training.rounds import transitions
from training.rounds.loops import save_loop
from training.rounds.steps.base import StepResult
from training.rounds.steps.collect import Freeze, count_new_judgments
from training.rounds.steps.comparison import earlier_answers
from training.rounds.steps.improve import ImprovePolicy
from training.rounds.steps.reward_models import TrainRewardModels, last_seen_judgment
from training.runs.actions import claim_run, finish_run, resume_run, start_run
from training.runs.job_files import write_job
from training.tasks import sweep_rounds


class MovingTests(RoundTestCase):
    def test_a_round_goes_through_its_plan_and_promotes_its_policy(self) -> None:
        round = play(self.start_round(), until="promotion")
        assert (round.state, round.step) == (Round.State.AWAITING, "promotion"), (round.error, round.gates)
        assert all(gate["passed"] for gate in round.gates)
        assert all(round.runs.get(part=part).inputs["swap"] for part in ("second", "measure-second"))
        assert round.policy_after is not None
        assert round.policy_after.name == "round-1-policy"
        before = Item.objects.count()
        round = play(transitions.decide(round, self.alice, "promoted"), until="none")
        assert (round.state, round.decision) == (Round.State.DONE, "promoted")
        assert current_model(self.policy_project, ModelVersion.Kind.POLICY) == round.policy_after
        assert current_model(self.policy_project, ModelVersion.Kind.REWARD) is not None
        assert 0 < Item.objects.count() - before <= 10

    def test_the_loop_s_criteria_are_those_of_its_own_reward_model_alone(self) -> None:
        """The judgments of the safety project, and the held-out ones, need not have ratings."""
        judge_items(self.policy_project, self.alice, 30)
        loop = self.make_loop(options={"second_opinion": True})
        loop.configs = loop.configs | {"reward": loop.configs["reward"] | {"criteria": "kind"}}
        loop.save()
        round = play(transitions.start_round(loop=loop, creator=self.alice), until="measure")
        criteria = {part: round.runs.get(part=part).config["criteria"] for part in ("reward", "second")}
        assert criteria == {"reward": "kind", "second": ""}

    def test_a_rejected_policy_is_not_current_and_the_old_one_answers(self) -> None:
        round = play(self.start_round(), until="promotion")
        before = Item.objects.order_by("pk").last()
        round = play(transitions.decide(round, self.alice, "rejected", "It rambles."), until="none")
        assert (round.decision, round.decision_note) == ("rejected", "It rambles.")
        assert current_model(self.policy_project, ModelVersion.Kind.POLICY) == self.first
        assert before is not None
        for item in Item.objects.filter(pk__gt=before.pk):
            assert {answer.author for answer in item.responses.all()} == {self.first.author}

    def test_it_waits_for_judgments_and_continues_when_there_are_enough(self) -> None:
        round = self.start_round(judgments=9)
        transitions.advance(round.pk)
        assert reload(round).step == "collect"
        judge_items(self.policy_project, self.alice, 1)
        transitions.advance(round.pk)
        assert reload(round).step == "rewards"

    def test_it_continues_when_the_queue_is_empty(self) -> None:
        round = self.start_round(judgments=9)
        for item in self.policy_project.items.all():
            items.retire(item=item, actor=self.alice, reason="A test.")
        transitions.advance(round.pk)
        assert reload(round).step == "rewards"

    def test_an_up_to_date_snapshot_is_reused(self) -> None:
        round = self.start_round()
        frozen = snapshots.create_snapshot(project=self.policy_project, creator=self.alice)
        transitions.skip_waiting(round, self.alice)
        transitions.advance(round.pk)
        assert reload(round).snapshot == frozen

    def test_models_are_evaluated_on_new_judgments_if_there_are_enough(self) -> None:
        round = self.start_round()
        for number, held_out, after in ((1, 7, 0), (2, 11, 0), (3, 16, 20)):
            round.snapshot = Snapshot.objects.create(
                project=self.policy_project,
                number=number,
                counts={"judgments_held_out": held_out},
                last_judgment=10 * number,
                created_by=self.alice,
            )
            assert last_seen_judgment(round, round.snapshot) == after

    def test_judgments_of_the_safety_project_count_as_new(self) -> None:
        safety = project_with_policy(self.alice, "hub:somewhere/policy@main", items=4, name="Safe")
        judge_items(self.policy_project, self.alice, 3)
        judge_items(safety, self.alice, 2)
        round = transitions.start_round(
            loop=self.make_loop("llama2", safety_project=safety), creator=self.alice
        )
        assert count_new_judgments(round) == 5

    def test_dpo_trains_on_all_judgments_or_on_those_since_its_policy_was_made(self) -> None:
        first = play(self.start_round(learn_from="new"), until="promotion")
        assert ImprovePolicy().run_arguments(first, "improve-1").inputs["after"] == 0
        play(transitions.decide(first, self.alice, "promoted"), until="none")
        judge_items(self.policy_project, self.alice, 10)
        rejected = play(transitions.start_round(loop=first.loop, creator=self.alice), until="promotion")
        learned = first.snapshot.last_judgment  # type: ignore[union-attr]
        assert ImprovePolicy().run_arguments(rejected, "improve-1").inputs["after"] == learned
        play(transitions.decide(rejected, self.alice, "rejected"), until="none")
        judge_items(self.policy_project, self.alice, 10)
        third = play(transitions.start_round(loop=first.loop, creator=self.alice), until="improve-1")
        assert ImprovePolicy().run_arguments(third, "improve-1").inputs["after"] == learned, (
            "not the rejected"
        )
        third.options["start"] = "first"
        assert ImprovePolicy().run_arguments(third, "improve-1").inputs["after"] == 0
        third.options["learn_from"] = "all"
        assert "after" not in ImprovePolicy().run_arguments(third, "improve-1").inputs

    def test_kto_reads_judgments_and_chooses_weights_as_dpo_does(self) -> None:
        round = play(self.start_round(learn_from="new", evaluations=5, max_kl=30.0), until="improve-1")
        by_kind = []
        for kind in ("dpo", "kto"):
            for planned in round.plan:
                if planned["name"] == "improve-1":
                    planned["parts"][0]["kind"] = kind
            by_kind.append(ImprovePolicy().run_arguments(round, "improve-1"))
        assert by_kind[0] == by_kind[1]
        assert by_kind[1].snapshot == round.snapshot
        run = start_run(
            project=self.policy_project,
            kind="kto",
            creator=self.alice,
            model=round.policy_before,
            snapshot=round.snapshot,
            reward_model=by_kind[1].reward_model,
            config=by_kind[1].config,
            inputs={"after": 0},
        )
        job = json.loads((write_job(run) / "job.json").read_text())
        assert job["reward_model"] == str(staged_folder(run.reward_model.location))  # type: ignore[union-attr]
        rows = [json.loads(line) for line in (run.folder / "data.jsonl").open()]
        assert len(rows) == len(list(snapshots.read_rankings(round.snapshot)))  # type: ignore[arg-type]

    def test_reward_models_start_from_the_first_policy_or_its_base(self) -> None:
        round = play(self.start_round(), until="rewards")
        first = round.loop.first_policy
        base = add_model(project=self.policy_project, kind="policy", name="base", location=first.location)
        for reward_start, parent, start in (
            ("first", base, first),
            ("base", base, base),
            ("base", None, first),
        ):
            first.parent = parent
            round.options["reward_start"] = reward_start
            assert TrainRewardModels().run_arguments(round, "reward").model == start

    def test_a_policy_is_chosen_by_the_second_reward_model_if_that_knows_anything(self) -> None:
        round = play(self.start_round(evaluations=5, max_kl=30.0), until="improve-1")
        measured = round.runs.get(part="measure-second")
        for interval, second in (([0.45, 0.7], None), ([0.55, 0.8], round.output_of("second"))):
            measured.result = {"report": {"accuracy_interval": interval}}
            measured.save()
            arguments = ImprovePolicy().run_arguments(round, "improve-1")
            assert arguments.second_reward_model == second
            assert arguments.reward_model == round.output_of("reward") is not None
            assert arguments.config == {"evaluate_every": 0.2, "patience": 2, "max_kl": 30.0}
        round.configs["dpo"]["patience"] = 0
        assert "patience" not in ImprovePolicy().run_arguments(round, "improve-1").config, (
            "the lead's comes first"
        )
        round.configs["dpo"] = {"evaluate_every": 0}
        assert ImprovePolicy().run_arguments(round, "improve-1").config == {"max_kl": 30.0, "patience": 0}
        round.configs["dpo"] = {}
        round.options["evaluations"] = 1
        assert ImprovePolicy().run_arguments(round, "improve-1").config["evaluate_every"] < 1, (
            "1 is every step"
        )
        round.options["evaluations"] = 0
        assert ImprovePolicy().run_arguments(round, "improve-1").config == {}

    def test_rest_has_a_rhythm_of_its_own_within_the_kl_gate(self) -> None:
        round = play(self.start_round(evaluations=5, max_kl=30.0), until="improve-1")
        for planned in round.plan:
            if planned["name"] == "improve-1":
                planned["parts"][0]["kind"] = "rest"
        arguments = ImprovePolicy().run_arguments(round, "improve-1")
        assert arguments.config == {"max_kl": 30.0}
        round.options["evaluations"] = 0
        assert ImprovePolicy().run_arguments(round, "improve-1").config == {"patience": 0}
        round.configs["rest"] = {"patience": 2}
        assert ImprovePolicy().run_arguments(round, "improve-1").config == {}

    def test_without_held_out_judgments_no_checkpoint_is_selected(self) -> None:
        round = play(self.start_round(), until="improve-1")
        assert round.snapshot is not None
        round.snapshot.counts["pairs_held_out"] = 0
        arguments = ImprovePolicy().run_arguments(round, "improve-1")
        assert (arguments.config, arguments.reward_model) == ({}, None)

    def test_dpo_on_new_judgments_replays_those_of_safety_prompts(self) -> None:
        round = play(self.start_round(judgments=20, learn_from="new", safety_tag="harm"), until="improve-1")
        assert round.snapshot is not None
        prompt_of = {row["judgment"]: row["prompt_id"] for row in snapshots.read_rankings(round.snapshot)}
        train = set(Prompt.objects.filter(split="train").values_list("external_id", flat=True))
        oldest = min(pk for pk, prompt in prompt_of.items() if prompt in train)
        held_out = min(pk for pk, prompt in prompt_of.items() if prompt not in train)
        *_, last, new, newest = sorted(prompt_of)
        tagged = [prompt_of[oldest], prompt_of[held_out]]
        Prompt.objects.filter(external_id__in=tagged).update(tags=["harm"])
        round.snapshot = snapshots.create_snapshot(project=self.policy_project, creator=self.alice)
        inputs = ImprovePolicy().run_arguments(round, "improve-1").inputs | {"after": last}
        run = start_run(
            project=self.policy_project,
            kind="dpo",
            creator=self.alice,
            model=round.policy_before,
            snapshot=round.snapshot,
            inputs=inputs,
        )
        read = {json.loads(line)["id"] for line in (write_job(run) / "data.jsonl").open()}
        replay = {pk for pk, prompt in prompt_of.items() if prompt == prompt_of[oldest]}
        assert read == replay | {new, newest}

    def test_a_lead_can_skip_waiting(self) -> None:
        round = self.start_round(judgments=9)
        transitions.skip_waiting(round, self.alice)
        transitions.advance(round.pk)
        assert reload(round).step == "rewards"
        with pytest.raises(RunError, match="does not wait for people"):
            transitions.skip_waiting(round, self.alice)

    def test_it_does_not_continue_without_judgments(self) -> None:
        round = self.start_round(judgments=0)
        with pytest.raises(RunError, match="no judgments yet"):
            transitions.skip_waiting(round, self.alice)

    def test_repeated_checks_start_nothing_twice(self) -> None:
        round = self.start_round()
        for _ in range(5):
            transitions.advance(round.pk)
        parts = list(round.runs.values_list("part", flat=True))
        assert sorted(parts) == sorted(set(parts)) == ["reward", "second"]

    def test_the_database_refuses_a_part_s_second_run(self) -> None:
        round = self.start_round()
        transitions.advance(round.pk)
        run = round.runs.get(part="reward")
        with pytest.raises(IntegrityError, match="a_part_of_a_round_is_run_once"), transaction.atomic():
            Run.objects.create(
                project=self.policy_project,
                kind="reward",
                config={},
                created_by=self.alice,
                round=round,
                part="reward",
            )
        run.superseded = True
        run.save()
        Run.objects.create(
            project=self.policy_project,
            kind="reward",
            config={},
            created_by=self.alice,
            round=round,
            part="reward",
        )

    def test_an_error_within_a_step_leaves_the_round_as_it_was(self) -> None:
        round = self.start_round()
        freeze = Freeze.check

        def broken(step: Freeze, round: Round) -> StepResult:
            freeze(step, round)
            raise OSError("the disk is full")

        with patch.object(Freeze, "check", broken):
            transitions.advance(round.pk)
        round = reload(round)
        assert (round.state, round.step) == (Round.State.FAILED, "freeze")
        assert "the disk is full" in round.error
        assert not self.policy_project.snapshots.exists()
        transitions.advance(round.pk)
        assert reload(round).state == Round.State.FAILED, "only a lead goes on with it"
        round = play(transitions.resume(round, self.alice), until="promotion")
        assert round.step == "promotion"

    def test_a_failed_run_stops_the_round_until_it_is_resumed(self) -> None:
        round = self.start_round()
        transitions.advance(round.pk)
        run = claim_run(round.runs.get(part="reward").pk)
        assert run is not None
        finish_run(run, state=Run.State.FAILED, error="Out of memory.")
        transitions.advance(round.pk)
        round = reload(round)
        assert round.state == Round.State.FAILED
        assert "Out of memory." in round.error
        resume_run(run)  # on the run's own page
        sweep_rounds()
        assert reload(round).state == Round.State.WORKING
        assert play(round, until="promotion").step == "promotion"

    def test_the_sweep_advances_rounds_whose_message_was_lost(self) -> None:
        round = self.start_round()
        sweep_rounds()
        assert reload(round).step == "rewards"

    def test_settings_are_frozen_when_it_starts(self) -> None:
        round = self.start_round()
        save_loop(
            project=self.policy_project,
            creator=self.alice,
            loop=round.loop,
            recipe="grpo",
            options={"judgments": 99},
        )
        assert (reload(round).recipe, reload(round).options["judgments"]) == ("dpo", 10)

    def test_the_next_round_starts_from_the_last_policy_and_reuses_its_answers(self) -> None:
        round = play(
            transitions.decide(play(self.start_round(), until="promotion"), self.alice, "promoted"),
            until="none",
        )
        builders.join(self.policy_project, self.bob, Member.Role.ANNOTATOR)
        judge_items(self.policy_project, self.bob)
        judge_items(self.policy_project, self.alice)
        later = play(transitions.start_round(loop=round.loop, creator=self.alice), until="promotion")
        assert later.policy_before == round.policy_after
        assert later.snapshot != round.snapshot
        assert later.runs.get(part="improve-1").model == round.policy_after
        assert later.runs.get(part="measure-old-reward").model == round.runs.get(part="reward").output
        assert not later.runs.filter(part="answers-old").exists()
        assert later.runs.get(part="measure-reward").inputs["after"] in (0, round.snapshot.last_judgment)  # type: ignore[union-attr]

    def test_answers_to_the_same_prompts_are_reused(self) -> None:
        round = play(self.start_round(), until="promotion")
        new, old = (round.runs.get(part=f"answers-{which}") for which in ("new", "old"))
        prompts = new.inputs["prompt_ids"]
        assert set(self.policy_project.prompts.filter(pk__in=prompts).values_list("split", flat=True)) == {
            "held_out"
        }
        assert earlier_answers(round, new.model, prompts) == new
        assert earlier_answers(round, old.model, prompts) == old
        assert earlier_answers(round, old.model, prompts[1:]) is None
        assert earlier_answers(Round(loop=self.make_loop(name="Another")), old.model, prompts) is None
        Run.objects.filter(pk=old.pk).update(state=Run.State.CANCELLED)
        assert earlier_answers(round, old.model, prompts) is None

    def test_it_can_start_from_the_first_policy_each_time(self) -> None:
        round = play(
            transitions.decide(
                play(self.start_round(start="first"), until="promotion"), self.alice, "promoted"
            ),
            until="none",
        )
        judge_items(self.policy_project, self.alice)
        later = play(transitions.start_round(loop=round.loop, creator=self.alice), until="answers")
        assert later.runs.get(part="improve-1").model == self.first
