"""What leads decide: gates that hold a round, promotion, cancelling, resuming and repeating."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from annotation.actions import webhooks
from annotation.models import AuditEntry, Delivery, Item, Judgment, ReviewFlag
from tests import builders
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import (
    judge_items,
    play,
    reload,
)
from training.errors import RunError
from training.models import ModelVersion, Round
from training.registry.actions import current_model
from training.rounds import timeline, transitions
from training.rounds.steps import step_of


class DecidingTests(RoundTestCase):
    def held(self) -> Round:
        round = play(self.start_round(min_accuracy=0.9), until="improve-1")
        assert (round.state, round.step) == (Round.State.HELD, "reward-gates")
        return round

    def test_judgments_that_both_reward_models_dispute_come_to_a_reviewer_once(self) -> None:
        rows = [
            {"id": f"long-{n}", "prompt": f"How long is {n}?", "responses": ["A." * 9, "B." * 5, "C."]}
            for n in range(8)
        ]
        builders.imported(self.policy_project, *rows)
        round = play(self.start_round(judgments=100, min_accuracy=0.9), until="none")
        assert (round.state, round.step) == (Round.State.HELD, "reward-gates")
        odd = set(ReviewFlag.objects.values_list("judgment", flat=True))
        assert odd == set(round.report["odd"]), "the reward models here like length"
        for judgment in Judgment.objects.filter(pk__in=odd):
            assert judgment.item.prompt.external_id.startswith("long-")
        step_of(round.step).check(round)
        step_of(round.step).check(round)
        assert ReviewFlag.objects.count() == len(odd) > 0

    def test_a_gate_that_is_not_passed_holds_the_round(self) -> None:
        webhooks.add(
            project=self.policy_project, url="https://example.com/", events=["round.held"], creator=self.alice
        )
        round = self.held()
        assert "Not passed: Held-out accuracy." in round.error
        message = Delivery.objects.get().body
        assert (message["event"], message["data"]["number"]) == ("round.held", round.number)
        assert message["data"]["reason"] == round.error
        assert current_model(self.policy_project, ModelVersion.Kind.REWARD) is None
        transitions.advance(round.pk)
        assert reload(round).state == Round.State.HELD
        assert Delivery.objects.count() == 1

    def test_a_gate_is_overruled_with_a_reason(self) -> None:
        round = self.held()
        with pytest.raises(RunError, match="Say why"):
            transitions.overrule(round, self.alice, "  ")
        transitions.overrule(round, self.alice, "Small data.")
        round = reload(round)
        assert (round.state, round.step) == (Round.State.WORKING, "improve-1")
        assert round.overrules[0]["reason"] == "Small data."
        assert round.overrules[0]["gates"] == ["Held-out accuracy"]
        entry = AuditEntry.objects.get(verb="round.overruled")
        assert (entry.actor, entry.data["reason"]) == (self.alice, "Small data.")
        assert current_model(self.policy_project, ModelVersion.Kind.REWARD) is not None

    def test_a_lead_who_obeys_a_gate_keeps_the_policy_and_gets_new_answers(self) -> None:
        round = self.held()
        before, items = round.policy_before, Item.objects.count()
        transitions.decide(round, self.alice, Round.Decision.REJECTED, "More overlap first.")
        round = reload(round)
        assert (round.state, round.step) == (Round.State.WORKING, "fresh-answers")
        round = play(round, until="none")
        assert (round.state, round.decision) == (Round.State.DONE, "rejected")
        assert (round.policy_after, round.decision_note) == (None, "More overlap first.")
        assert not round.is_override
        assert current_model(self.policy_project, ModelVersion.Kind.POLICY) == before
        assert current_model(self.policy_project, ModelVersion.Kind.REWARD) is None
        assert not round.runs.filter(part__startswith="improve").exists()
        assert Item.objects.count() > items
        states = {line.title: line.state for line in timeline.build_timeline(round)}
        assert states["Improve the policy by DPO"] == states["Policy gates"] == "skipped"
        assert states["Reward model gates"] == states["Generate new answers"] == "done"
        assert "The current policy stays" in timeline.status_sentence(round)
        assert AuditEntry.objects.get(verb="round.rejected").data["note"] == "More overlap first."
        later = transitions.start_round(loop=round.loop, creator=self.alice)
        assert later.policy_before == before

    def test_a_round_that_a_policy_gate_holds_can_be_rejected_at_once(self) -> None:
        round = play(self.start_round(max_kl=1.0), until="none")
        assert (round.state, round.step) == (Round.State.HELD, "policy-gates")
        round = play(transitions.decide(round, self.alice, Round.Decision.REJECTED), until="none")
        assert (round.state, round.decision) == (Round.State.DONE, "rejected")
        assert round.policy_after is not None
        assert "was not promoted: it did not pass kl budget" in timeline.status_sentence(round)
        assert all(line.state == "done" for line in timeline.build_timeline(round) if line.gates)

    def test_a_held_round_cannot_be_promoted(self) -> None:
        with pytest.raises(RunError, match="is held now"):
            transitions.decide(self.held(), self.alice, Round.Decision.PROMOTED)

    def test_each_gate_has_a_reason_of_its_own(self) -> None:
        round = play(self.start_round(min_accuracy=0.9, max_kl=1.0), until="none")
        round = play(transitions.overrule(round, self.alice, "Small data."), until="none")
        assert (round.state, round.step) == (Round.State.HELD, "policy-gates")
        transitions.overrule(round, self.alice, "It may stray.")
        said = [(one["reason"], one["gates"]) for one in reload(round).overrules]
        assert said == [("Small data.", ["Held-out accuracy"]), ("It may stray.", ["KL budget"])]

    def test_it_promotes_automatically_only_if_every_gate_was_passed(self) -> None:
        round = play(self.start_round(promote_alone=True), until="none")
        assert (round.state, round.decision, round.decided_by) == (Round.State.DONE, "promoted", None)
        judge_items(self.policy_project, self.alice)
        loop = round.loop
        loop.options |= {"min_accuracy": 0.9}
        loop.save()
        later = play(transitions.start_round(loop=loop, creator=self.alice), until="none")
        assert later.state == Round.State.HELD
        later = play(transitions.overrule(later, self.alice, "Why not."), until="none")
        assert later.state == Round.State.AWAITING

    def test_a_loop_has_one_open_round(self) -> None:
        round = self.start_round()
        with pytest.raises(RunError, match="Round 1 is still open"):
            transitions.start_round(loop=round.loop, creator=self.alice)
        with pytest.raises(IntegrityError, match="one_open_round_per_loop"), transaction.atomic():
            Round.objects.filter(pk=round.pk).update(pk=None) if False else Round(
                loop=round.loop, number=9, plan=round.plan, step="collect", step_since=round.step_since,
                recipe="dpo", options={}, policy_before=self.first,
            ).save()  # fmt: skip

    def test_a_cancelled_round_stops_its_runs_and_can_be_resumed(self) -> None:
        round = self.start_round()
        transitions.advance(round.pk)
        transitions.cancel(round, self.alice)
        assert set(round.runs.values_list("state", flat=True)) == {"cancelled"}
        transitions.advance(round.pk)
        assert reload(round).state == Round.State.CANCELLED
        with pytest.raises(RunError, match="cancelled now"):
            transitions.cancel(round, self.alice)
        resumed = transitions.resume(round, self.alice)
        assert play(resumed, until="promotion").step == "promotion"

    def test_it_is_not_resumed_while_another_one_is_open(self) -> None:
        round = self.start_round()
        transitions.cancel(round, self.alice)
        transitions.start_round(loop=round.loop, creator=self.alice)
        with pytest.raises(RunError, match="Another round"):
            transitions.resume(round, self.alice)
        assert reload(round).state == Round.State.CANCELLED

    def test_a_part_of_it_can_be_repeated(self) -> None:
        round = play(self.start_round(), until="promotion")
        old = round.policy_after
        transitions.retry(round, self.alice, "improve-1")
        assert {gate["step"] for gate in reload(round).gates} == {"reward-gates"}
        assert reload(round).report == {"odd": []}, "of the reward models' gates, which are not repeated"
        again = play(round, until="promotion")
        assert again.policy_after != old
        assert again.policy_after is not None
        assert again.policy_after.name == "round-1-policy-2"
        assert again.runs.filter(part="improve-1").count() == 2
        for step in ("collect", "questions", "nonsense"):
            with pytest.raises(RunError, match="reached"):
                transitions.retry(round, self.alice, step)

    def test_a_retry_of_the_gates_keeps_the_human_comparison_and_one_from_before_repeats_it(self) -> None:
        round = play(self.start_round(people_compare=4), until="people")
        items = reload(round).report["people_items"]
        assert len(items) == 4
        transitions.skip_waiting(round, self.alice)
        round = play(round, until="promotion")
        assert {"people_items", "wins"} <= set(round.report)
        transitions.retry(round, self.alice, "policy-gates")
        assert reload(round).report == {"odd": [], "people_items": items}
        round = play(round, until="promotion")
        transitions.retry(round, self.alice, "improve-1")
        round = play(round, until="people")
        assert not set(items) & set(reload(round).report["people_items"])

    def test_a_retry_cancels_the_open_runs_that_it_replaces(self) -> None:
        round = self.start_round()
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

    def test_transitions_by_leads_are_audited(self) -> None:
        round = self.start_round(judgments=9)
        transitions.cancel(round, self.alice)
        transitions.resume(round, self.alice)
        transitions.skip_waiting(round, self.alice)
        transitions.retry(play(round, until="promotion"), self.alice, "policy-gates")
        transitions.decide(play(round, until="promotion"), self.alice, "rejected")
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
        round = self.start_round()
        for act in (
            lambda: transitions.decide(round, self.alice, "promoted"),
            lambda: transitions.overrule(round, self.alice, "Because."),
            lambda: transitions.resume(round, self.alice),
        ):
            with pytest.raises(RunError, match="Round 1 is working now"):
                act()
