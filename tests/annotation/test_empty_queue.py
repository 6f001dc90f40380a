"""What webhooks are told of a queue that becomes empty, and how often."""

from __future__ import annotations

from django.utils import timezone

from annotation.actions import webhook_delivery, webhooks
from annotation.models import Webhook
from tests import builders
from tests.base import PalateTestCase


class EmptyQueueTests(PalateTestCase):
    def setUp(self) -> None:
        self.hook = webhooks.add(
            project=self.project, url="https://example.com/", events=["queue.empty"], creator=self.alice
        )

    def test_an_empty_queue_is_reported_once_until_it_is_filled_again(self) -> None:
        hook = self.hook
        assert webhook_delivery.notify_of_empty_queues() == 0, "it was empty when the webhook was added"
        builders.items(self.project, 2)
        assert webhook_delivery.notify_of_empty_queues() == 0
        builders.judgment(self.project, self.bob)
        assert webhook_delivery.notify_of_empty_queues() == 0
        builders.judgment(self.project, self.bob)
        assert [webhook_delivery.notify_of_empty_queues() for _ in range(3)] == [1, 0, 0]
        builders.items(self.project, 1, prefix="more")
        webhook_delivery.notify_of_empty_queues()
        builders.judgment(self.project, self.bob)
        assert webhook_delivery.notify_of_empty_queues() == 0, "it was told a moment ago"
        Webhook.objects.update(queue_empty_at=timezone.now() - webhook_delivery.QUEUE_EMPTY_INTERVAL)
        assert webhook_delivery.notify_of_empty_queues() == 1
        assert {delivery.event for delivery in hook.deliveries.all()} == {"queue.empty"}

    def test_a_queue_that_empties_during_a_pause_is_not_reported_later(self) -> None:
        hook = self.hook
        builders.items(self.project, 1)
        webhook_delivery.notify_of_empty_queues()
        webhooks.set_active(webhook=hook, active=False, actor=self.alice)
        builders.judgment(self.project, self.bob)
        webhooks.set_active(webhook=hook, active=True, actor=self.alice)
        assert webhook_delivery.notify_of_empty_queues() == 0
