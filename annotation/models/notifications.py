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

    user = models.ForeignKey(User, models.CASCADE, related_name="notifications", db_index=False)
    kind = models.CharField(max_length=13, choices=Kind)
    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)
    subject = models.CharField(max_length=120, blank=True, help_text="What it is about: a batch's name.")
    url = models.CharField(max_length=200, help_text="Path of the page that it leads to.")
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
