"""Uploaded files of prompts, and the state of their import."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotation.models.people import User
from annotation.models.projects import Project
from annotation.models.worker_jobs import WorkerJob


class Import(WorkerJob):
    """A file of prompts: uploaded, previewed, then read by a worker."""

    PROGRESS = "bytes_done"

    class State(models.TextChoices):
        UPLOADED = "uploaded", _("ready to start")
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        REFUSED = "refused", _("refused")  # the file has errors; nothing was imported
        CANCELLED = "cancelled", _("cancelled")
        FAILED = "failed", _("failed")

    class OtherColumns(models.TextChoices):
        STOP = "stop", _("Stop the import")
        METADATA = "metadata", _("Keep as metadata")
        LEAVE_OUT = "leave out", _("Leave out")

    class Judgments(models.TextChoices):
        LEAVE_OUT = "leave out", _("Leave them out")
        IMPORT = "import", _("Import them, and queue nothing")
        QUEUE = "queue", _("Import them, and queue the items too")

    project = models.ForeignKey(Project, models.CASCADE, related_name="imports")
    name = models.CharField(max_length=200)
    path = models.CharField(max_length=400, help_text="The URI of its file in the store.")
    bytes = models.BigIntegerField()
    state = models.CharField(max_length=9, choices=State, default=State.UPLOADED)
    shape = models.CharField(max_length=40, blank=True, help_text="The recognised format of the file.")
    # a list, as PostgreSQL does not keep the order of an object
    mapping = models.JSONField(
        default=list,
        help_text="[column, role] of each column, in the file's order, where a lead has mapped them: a file of no known format.",
    )
    other_columns = models.CharField(
        max_length=9,
        choices=OtherColumns,
        default=OtherColumns.STOP,
        help_text="What becomes of columns that the format does not have.",
    )
    set_aside_share = models.FloatField(
        default=0.0,
        help_text="The share of invalid rows up to which they are set aside and the others imported.",
    )
    judgments = models.CharField(
        max_length=9,
        choices=Judgments,
        default=Judgments.LEAVE_OUT,
        help_text="What becomes of the preferences in the file.",
    )
    judged_by = models.CharField(
        max_length=7,
        choices=User.Account,
        blank=True,
        help_text="Who made them, where the file does not say it.",
    )
    bytes_done = models.BigIntegerField(default=0)
    report = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state"], name="open_imports", condition=WorkerJob.OPEN)]

    def __str__(self) -> str:
        return self.name

    @property
    def percent(self) -> int:
        return min(100, 100 * self.bytes_done // self.bytes) if self.bytes else 0
