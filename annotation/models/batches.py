"""Batches: items that a lead assigned to named members, with a due date."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotation.models.people import User
from annotation.models.projects import Project


class Batch(models.Model):
    """Slots that are reserved for some members (`Slot.batch`) until the due date, or until the batch is closed."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="batches", db_index=False)
    name = models.CharField(max_length=80)
    users = models.ManyToManyField(User, through="BatchMember", related_name="batches")
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    # when its people were told that it is due soon, and that it is overdue
    due_notice_at = models.DateTimeField(null=True, blank=True)
    overdue_notice_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["project", "due_at"], name="open_batches", condition=Q(closed_at=None)),
            models.Index(fields=["project", "-id"], name="batches_of_a_project"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_overdue(self) -> bool:
        return self.closed_at is None and self.due_at <= timezone.now()


class BatchMember(models.Model):
    """A member to whom a batch is assigned."""

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="people", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["batch", "user"], name="a_batch_is_assigned_once_to_a_person")
        ]
