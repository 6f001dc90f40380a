"""What leads are told of rounds and runs among their notifications: once for each event, in its transaction."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.db import transaction
from django.test import override_settings

from annotation.actions import notifications
from annotation.models import Member, Notification, Slot, User
from tests import builders
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import finish_runs, play, reload
from training.models import Round, Run
from training.rounds import transitions
from training.runs.actions import cancel_run, claim_run, finish_run, start_run


def told(user: User) -> list[tuple[str, str, int]]:
    return list(user.notifications.order_by("pk").values_list("kind", "subject", "count"))


class RoundNotificationTests(RoundTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.gwen = builders.user("gwen")
        builders.join(self.policy_project, self.gwen, Member.Role.LEAD)
        builders.join(self.policy_project, self.dana, Member.Role.REVIEWER)

    def test_a_round_that_waits_for_a_decision_is_told_to_all_leads_once(self) -> None:
        round = play(self.start_round(min_accuracy=0.9), until="improve-1")
        assert round.state == Round.State.HELD
        transitions.advance(round.pk)
        name = f"{round.loop}, round {round.number}"
        assert told(self.alice) == told(self.gwen) == [("round_held", name, 1)]
        assert self.alice.notifications.get().url == round.get_absolute_url()
        assert told(self.dana) == []

    def test_a_round_that_awaits_its_promotion_is_told_and_its_end(self) -> None:
        round = play(self.start_round(), until="none")
        assert round.state == Round.State.AWAITING
        assert [kind for kind, *_ in told(self.gwen)] == ["round_held"]
        transitions.decide(round, self.alice, Round.Decision.PROMOTED)
        assert [kind for kind, *_ in told(self.gwen)] == ["round_held"]
        assert play(round, until="none").state == Round.State.DONE
        assert [kind for kind, *_ in told(self.gwen)] == ["round_held", "round_done"]

    def test_a_round_whose_run_failed_is_told_by_the_round_alone(self) -> None:
        round = self.start_round()
        transitions.advance(round.pk)
        run = claim_run(round.runs.filter(state=Run.State.QUEUED).order_by("pk")[0].pk)
        assert run is not None
        finish_run(run, state=Run.State.FAILED, error="No space left.")
        assert told(self.alice) == []
        for _ in range(3):
            transitions.advance(round.pk)
        assert reload(round).state == Round.State.FAILED
        assert told(self.alice) == [("round_failed", f"{round.loop}, round {round.number}", 1)]

    def test_what_one_lead_has_decided_counts_as_read_for_all(self) -> None:
        def unread(user: User) -> list[str]:
            return list(user.notifications.filter(read_at=None).values_list("kind", flat=True))

        round = play(self.start_round(min_accuracy=0.9), until="improve-1")
        assert unread(self.alice) == unread(self.gwen) == ["round_held"]
        transitions.overrule(round, self.alice, "Small data.")
        assert unread(self.alice) == unread(self.gwen) == []

    def test_what_a_lead_does_is_told_to_nobody(self) -> None:
        round = self.start_round()
        transitions.cancel(round, self.alice)
        transitions.resume(round, self.alice)
        assert not Notification.objects.exists()

    def test_an_event_that_is_taken_back_told_nothing(self) -> None:
        round = play(self.start_round(min_accuracy=0.9), until="none")
        Notification.objects.all().delete()
        Round.objects.filter(pk=round.pk).update(state=Round.State.WORKING)
        point = transaction.savepoint()
        transitions.advance(round.pk)
        assert told(self.alice)
        transaction.savepoint_rollback(point)
        assert told(self.alice) == []

    def test_an_empty_queue_is_told_once_until_it_is_filled(self) -> None:
        Slot.objects.filter(project=self.policy_project).delete()
        loop = self.make_loop(options={"budget": 0, "judgments": 5})
        round = transitions.start_round(loop=loop, creator=self.alice)
        while reload(round).step != "collect":
            transitions.advance(round.pk)
            finish_runs(round)
        Slot.objects.filter(project=self.policy_project).delete()
        for _ in range(3):
            transitions.advance(round.pk)
        assert [(kind, n) for kind, _, n in told(self.gwen)] == [("queue_empty", 1)]
        builders.items(self.policy_project, 3, k=3, prefix="more")
        transitions.advance(round.pk)
        assert "queue_is_empty" not in reload(round).report
        Slot.objects.filter(project=self.policy_project).delete()
        transitions.advance(round.pk)
        assert [(kind, n) for kind, _, n in told(self.gwen)] == [("queue_empty", 2)], "renewed"


class RunNotificationTests(RoundTestCase):
    def claimed(self) -> Run:
        run = claim_run(start_run(project=self.policy_project, kind="generate", creator=self.alice).pk)
        assert run is not None
        return run

    def test_whoever_started_a_run_is_told_that_it_is_done(self) -> None:
        gwen = builders.user("gwen")
        builders.join(self.policy_project, gwen, Member.Role.LEAD)
        run = self.claimed()
        assert finish_run(run, state=Run.State.DONE)
        assert not finish_run(run, state=Run.State.DONE)
        assert told(self.alice) == [("run_done", str(run), 1)]
        assert self.alice.notifications.get().url == run.get_absolute_url()
        assert told(gwen) == []

    def test_a_failed_run_is_told_to_the_leads_with_its_error(self) -> None:
        gwen = builders.user("gwen")
        builders.join(self.policy_project, gwen, Member.Role.LEAD)
        run = self.claimed()
        assert finish_run(run, state=Run.State.FAILED, error="No space left.")
        assert not finish_run(run, state=Run.State.FAILED, error="No space left.")
        assert told(self.alice) == told(gwen) == [("run_failed", f"{run}: No space left.", 1)]

    def test_a_cancelled_run_is_told_to_nobody(self) -> None:
        run = self.claimed()
        cancel_run(run)
        finish_run(run, state=Run.State.CANCELLED)
        assert not Notification.objects.exists()

    @override_settings(EMAIL_ENABLED=True)
    def test_what_needs_a_lead_is_reported_by_e_mail(self) -> None:
        self.alice.email = "alice@example.org"
        self.alice.save()
        EmailAddress.objects.create(user=self.alice, email=self.alice.email, verified=True, primary=True)
        finish_run(self.claimed(), state=Run.State.DONE)
        assert notifications.take_digests() == []
        run = self.claimed()
        finish_run(run, state=Run.State.FAILED, error="No space left.")
        (digest,) = notifications.take_digests()
        assert f"A run failed: {run}: No space left." in digest.body
