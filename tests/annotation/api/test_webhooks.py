from __future__ import annotations

from django.test import TestCase, override_settings

from annotation.actions import webhooks
from annotation.models import Delivery, Webhook
from tests.annotation.api.base import ApiTestCase, EndpointTests

PATH = "projects/helpfulness/webhooks/"
NEW = {"url": "https://example.com/hook", "events": ["snapshot.frozen"]}


@override_settings(WEBHOOKS_TO_PRIVATE=False)
class WebhookTests(EndpointTests, ApiTestCase, TestCase):
    def setUp(self) -> None:
        self.hook = webhooks.add(project=self.project, creator=self.alice, **NEW)
        self.webhook_path = f"{PATH}{self.hook.pk}/"
        self.ENDPOINTS = (
            ("GET", PATH, "lead", None),
            ("POST", PATH, "lead", NEW),
            ("PATCH", self.webhook_path, "lead", {"active": True}),
            ("POST", f"{self.webhook_path}test/", "lead", None),
            ("GET", f"{self.webhook_path}deliveries/", "lead", None),
            ("DELETE", self.webhook_path, "lead", None),
        )

    def patch(self, body: object):
        return self.call("PATCH", self.webhook_path, self.alice, body)

    def test_the_secret_is_told_once(self) -> None:
        made = self.post(PATH, self.alice, NEW).json()
        assert made["secret"] == Webhook.objects.get(pk=made["id"]).secret
        assert all("secret" not in line for line in self.get(PATH, self.alice).json())

    def test_events_and_whether_it_is_active_are_changed_apart_or_together(self) -> None:
        assert self.patch({"events": ["model.promoted"]}).json()["events"] == ["model.promoted"]
        assert self.patch({"active": False}).json()["active"] is False
        both = self.patch({"events": ["snapshot.frozen", "round.changed"], "active": True}).json()
        assert (both["events"], both["active"]) == (["round.changed", "snapshot.frozen"], True)
        self.refused(self.patch({}), 400, "body", "`active`, `events`, or both")
        self.refused(self.patch({"events": []}), 400, "events")
        self.refused(self.patch({"events": ["rain"]}), 400, "events", "rain")
        self.hook.refresh_from_db()
        assert (self.hook.events, self.hook.active) == (["round.changed", "snapshot.frozen"], True)

    def test_a_test_is_sent_and_the_log_has_how_it_was_answered(self) -> None:
        made = self.post(f"{self.webhook_path}test/", self.alice)
        assert (made.status_code, made.json()["event"], made.json()["state"]) == (201, "test", "waiting")
        Delivery.objects.update(state="failed", status=500, answer="Not today.")
        (told,) = self.get(f"{self.webhook_path}deliveries/", self.alice).json()["results"]
        assert (told["status"], told["answer"]) == (500, "Not today.")
