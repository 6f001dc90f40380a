"""Jobs: work that takes long, asked for by a lead and done by a worker."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext as _


class WorkerJob(models.Model):
    """A row is the queue; a message only wakes a worker. These states are the same for all."""

    QUEUED, RUNNING, CANCELLED = "queued", "running", "cancelled"
    OPEN = Q(state__in=[QUEUED, RUNNING])
    PROGRESS: ClassVar[str]
    """The field with how much is done."""

    State: ClassVar[type[models.TextChoices]]
    state = models.CharField(max_length=9, default=QUEUED)  # subclasses add the choices
    claim = models.UUIDField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    cancel_requested = models.BooleanField(default=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    @property
    def is_open(self) -> bool:
        return self.state in (self.QUEUED, self.RUNNING)

    @property
    def state_label(self) -> str:
        """The state for people; a job that was told to stop is stopping."""
        if self.cancel_requested and self.state == self.RUNNING:
            return _("stopping")
        return str(self.State(self.state).label)
