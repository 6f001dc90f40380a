"""Notifications of users, shown in the app and sent by e-mail as a digest."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotation.models.people import User
from annotation.models.projects import Project


class Notification(models.Model):
    """One thing that a user should know. While it is unread, the same thing happening again is added to its count."""

    class Kind(models.TextChoices):
        REPLY = "reply", _("A reviewer replied to your question")
        MESSAGE = "message", _("A question about an item")
        GUIDELINES = "guidelines", _("The guidelines have changed")
        PAUSED = "paused", _("Your work is paused")
        WARNED = "warned", _("A message about your work")
        RESUMED = "resumed", _("You can continue your work")
        BATCH = "batch", _("A batch was assigned to you")
        BATCH_DUE = "batch_due", _("A batch is due soon")
        BATCH_OVERDUE = "batch_overdue", _("A batch is overdue")
        REMINDER = "reminder", _("Items are waiting for you")
        # for leads
        ROUND_HELD = "round_held", _("A round waits for your decision")
        ROUND_FAILED = "round_failed", _("A round failed")
        ROUND_DONE = "round_done", _("A round is done")
        QUEUE_EMPTY = "queue_empty", _("A round waits for judgments, and the queue is empty")
        RUN_FAILED = "run_failed", _("A run failed")
        RUN_DONE = "run_done", _("Your run is done")
        IMPORT_DONE = "import_done", _("Your import is done")
        IMPORT_FAILED = "import_failed", _("Your import failed")
        SNAPSHOT_DONE = "snapshot_done", _("Your snapshot is done")
        SNAPSHOT_FAILED = "snapshot_fail", _("Your snapshot failed")
        MEMBER_WARNED = "member_warned", _("The rules warned an annotator")
        MEMBER_PAUSED = "member_paused", _("The rules paused an annotator")
        STANDS_OUT = "stands_out", _("An annotator stands out")

    ABOUT_PEOPLE = (Kind.MEMBER_WARNED, Kind.MEMBER_PAUSED, Kind.STANDS_OUT)
    """What leads are told of a person: the subject is their user name."""

    user = models.ForeignKey(User, models.CASCADE, related_name="notifications", db_index=False)
    kind = models.CharField(max_length=13, choices=Kind)
    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)
    subject = models.CharField(max_length=120, blank=True, help_text="What it is about: a name.")
    url = models.CharField(max_length=2000, help_text="Path of the page that it leads to.")
    count = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    read_at = models.DateTimeField(null=True, blank=True)
    emailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "kind", "url"],
                condition=Q(read_at=None),
                name="unread_once_per_kind_and_page",
            ),
        ]
        indexes = [models.Index(fields=["user", "-created_at"], name="notifications_of_a_user")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.subject}" if self.subject else self.get_kind_display()
