"""Cancelling several runs at once, and its undo."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from tests.access_cases import AccessTestCase, Endpoint, finished, policy, snapshot
from training.models import Run
from training.runs.actions import claim_run, finish_run, resume_run, start_run


class BulkRunTests(AccessTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        policy(cls.project)
        cls.snapshot = snapshot(cls.project, cls.alice, cls.bob)

    def start(self) -> Run:
        return start_run(project=self.project, kind="reward", creator=self.alice, snapshot=self.snapshot)

    def cancel(self, *runs: Run) -> Any:
        data = {"do": "cancel", "id": [run.pk for run in runs]}
        return self.client.post(reverse("runs-bulk", args=[self.project.slug]), data, follow=True)

    def undo(self, page: Any) -> list[str]:
        (message,) = page.context["messages"]
        _tag, address, token = message.extra_tags.split()
        page = self.client.post(address, {"token": token}, follow=True)
        return [str(message) for message in page.context["messages"]]

    def states(self) -> list[tuple[str, bool]]:
        return list(Run.objects.order_by("pk").values_list("state", "cancel_requested"))

    def test_leads_act(self) -> None:
        self.check(Endpoint("runs-bulk", post=302))
        self.check(Endpoint("runs-undo", post=302))
        self.sign_in(self.dana)
        self.start()
        page = self.client.get(reverse("runs", args=[self.project.slug]))
        self.assertNotContains(page, "data-check-row")

    def test_open_ones_are_cancelled_and_go_on_by_an_undo(self) -> None:
        over, queued, running = finished(self.start()), self.start(), self.start()
        claim_run(running.pk)
        self.sign_in(self.alice)
        page = self.cancel(over, queued, running)
        assert [str(m) for m in page.context["messages"]] == [
            "2 runs stop after their current step. 1 row stays as it was."
        ]
        assert self.states() == [("done", False), ("cancelled", True), ("running", True)]
        assert self.undo(page) == ["2 rows are as they were before."]
        assert self.states() == [("done", False), ("queued", False), ("running", False)]

    def test_what_was_resumed_since_stays(self) -> None:
        first, second, third = self.start(), self.start(), self.start()
        claimed = claim_run(third.pk)
        assert claimed
        self.sign_in(self.alice)
        page = self.cancel(first, second, third)
        first.refresh_from_db()
        resume_run(first)
        finish_run(claimed, state=Run.State.FAILED, error="It went wrong.")
        assert self.undo(page) == [
            "1 row is as it was before.",
            "2 rows were not put back: somebody has changed them since.",
        ]
        assert [state for state, _requested in self.states()] == ["queued", "queued", "failed"]
