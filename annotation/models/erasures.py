"""Erasures: what the owner of an erased account wrote, which a worker deletes."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy

from annotation.models.worker_jobs import WorkerJob


class Erasure(WorkerJob):
    """The account itself was erased when this was asked for; what is left is free text in any number of rows. Nobody can cancel
    it, and it is tried until it is done."""

    class State(models.TextChoices):
        QUEUED = "queued", gettext_lazy("queued")
        RUNNING = "running", gettext_lazy("running")
        DONE = "done", gettext_lazy("done")

    PROGRESS = "rows_done"

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.PROTECT, related_name="erasure")
    state = models.CharField(max_length=9, choices=State, default=State.QUEUED)
    rows_total = models.BigIntegerField(null=True, help_text="Null until a worker has counted them.")
    rows_done = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.user)

    @property
    def percent(self) -> int:
        return min(100, 100 * self.rows_done // self.rows_total) if self.rows_total else 0
