"""Webhooks and the deliveries to them."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from annotation.models.projects import Project

# in English, as in the API's documentation; pages translate them
EVENTS = {
    "judgment.created": gettext_noop("somebody judged an item, or revised a judgment"),
    "items.created": gettext_noop("items came into the queue"),
    "snapshot.frozen": gettext_noop("a snapshot was frozen"),
    "round.changed": gettext_noop("a round changed its step, or ended"),
    "round.held": gettext_noop("a gate holds a round: a lead has to decide"),
    "run.failed": gettext_noop("a run failed"),
    "run.stuck": gettext_noop("a run makes no progress, or no worker takes it"),
    "queue.empty": gettext_noop("no item is left in the queue for annotators"),
    "model.promoted": gettext_noop("a model became the current one"),
}


class Webhook(models.Model):
    """An address that receives a project's events. Its secret signs every message, and is shown once."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="webhooks")
    url = models.URLField("address", max_length=500)
    events = ArrayField(models.CharField(max_length=40), help_text="As in `EVENTS`.")
    secret = models.CharField(max_length=64, editable=False)
    active = models.BooleanField(default=True)
    # the last rows that it was notified of: judging and importing write no messages, a sweep finds new rows
    last_judgment = models.BigIntegerField(default=0, editable=False)
    last_item = models.BigIntegerField(default=0, editable=False)
    # for `queue.empty`: whether there were items in the queue since it was last reported, and when that was
    queue_filled = models.BooleanField(default=False, editable=False)
    queue_empty_at = models.DateTimeField(null=True, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.url

    @property
    def host(self) -> str:
        """The part of its address that may be shown to everybody: the rest may contain a key."""
        return urlsplit(self.url).hostname or ""


class Delivery(models.Model):
    """One message to one webhook, and its result. The rows are the queue and the log."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        DELIVERED = "delivered", _("Delivered")
        FAILED = "failed", _("Failed")

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries", db_index=False)
    event = models.CharField(max_length=40)
    body = models.JSONField()
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.CharField(max_length=300, blank=True, help_text="The start of the response.")
    problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    tried_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["next_at"], name="deliveries_that_wait", condition=models.Q(state="waiting")
            ),
            models.Index(fields=["id"], name="deliveries_that_failed", condition=models.Q(state="failed")),
            models.Index(fields=["webhook", "id"], name="deliveries_of_a_webhook"),
        ]
