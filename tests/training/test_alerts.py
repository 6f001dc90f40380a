"""What webhooks are told of runs that fail or get stuck, and how often."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from annotation.actions import webhooks
from annotation.models import Delivery
from tests import builders
from tests.base import PalateTestCase
from training.models import Run
from training.registry.actions import add_model
from training.runs.actions import claim_run, finish_run, record_progress, requeue_run, start_run
from training.runs.alerts import report_stuck_runs


class AlertTests(PalateTestCase):
    def setUp(self) -> None:
        add_model(project=self.project, kind="policy", name="first", location="hub:somewhere/policy@main")
        builders.items(self.project, 1)
        webhooks.add(
            project=self.project,
            url="https://example.com/",
            events=["run.failed", "run.stuck"],
            creator=self.alice,
        )

    def start(self) -> Run:
        return start_run(project=self.project, kind="generate", creator=self.alice)

    def claimed(self) -> Run:
        run = claim_run(self.start().pk)
        assert run is not None
        return run

    def messages(self) -> list[tuple[str, Any]]:
        return [(each.event, each.body["data"]) for each in Delivery.objects.order_by("id")]

    def wait(self) -> None:
        """All runs were last active long ago; workers live."""
        long_ago = timezone.now() - timedelta(seconds=settings.RUN_STUCK_S + 1)
        Run.objects.update(active_at=long_ago)

    def test_a_failed_run_is_reported_once(self) -> None:
        run = self.claimed()
        assert finish_run(run, state=Run.State.FAILED, error="No space left.")
        assert not finish_run(run, state=Run.State.FAILED, error="No space left.")
        ((event, data),) = self.messages()
        assert (event, data["run"], data["kind"], data["error"]) == (
            "run.failed",
            run.pk,
            "generate",
            "No space left.",
        )

    def test_one_that_is_cancelled_or_done_is_not(self) -> None:
        finish_run(self.claimed(), state=Run.State.CANCELLED)
        finish_run(self.claimed(), state=Run.State.DONE)
        assert not self.messages()

    def test_a_run_without_progress_is_reported_once_until_it_makes_some(self) -> None:
        run = self.claimed()
        assert report_stuck_runs() == 0
        self.wait()
        assert [report_stuck_runs() for _ in range(3)] == [1, 0, 0]
        ((event, data),) = self.messages()
        assert (event, data["run"], data["state"]) == ("run.stuck", run.pk, "running")
        record_progress(run, step=1, total=2, eta_s=None)
        assert report_stuck_runs() == 0
        self.wait()
        assert report_stuck_runs() == 1

    def test_a_queued_run_is_stuck_only_where_no_worker_is(self) -> None:
        working, waiting = self.claimed(), self.start()
        self.wait()
        Run.objects.filter(pk=working.pk).update(active_at=timezone.now())
        assert report_stuck_runs() == 0
        Run.objects.filter(pk=working.pk).update(
            heartbeat_at=timezone.now() - timedelta(seconds=settings.RUN_STALE_S + 1)
        )
        assert report_stuck_runs() == 1
        assert self.messages()[0][1]["run"] == waiting.pk

    def test_a_run_that_is_queued_again_waits_from_then_on(self) -> None:
        run = self.claimed()
        self.wait()
        report_stuck_runs()
        requeue_run(run)
        run.refresh_from_db()
        assert (run.state, run.stuck_at) == (Run.State.QUEUED, None)
        assert report_stuck_runs() == 0
