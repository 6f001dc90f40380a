"""Uploaded files of prompts, and the state of their import."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotation.models.people import User
from annotation.models.projects import Project


class Import(models.Model):
    """A file of prompts: uploaded, previewed, then read by a worker. The row is the queue; a message only wakes a worker."""

    class State(models.TextChoices):
        UPLOADED = "uploaded"  # waits for a lead to start it
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        REFUSED = "refused"  # the file has errors; nothing was imported
        CANCELLED = "cancelled"
        FAILED = "failed"

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
    claim = models.UUIDField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    cancel_requested = models.BooleanField(default=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["state"], name="open_imports", condition=Q(state__in=["queued", "running"]))
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def state_label(self) -> str:
        """The state for people; an import that was told to stop is stopping."""
        if self.cancel_requested and self.state == self.State.RUNNING:
            return gettext("stopping")
        return str(STATE_LABELS[self.State(self.state)])

    @property
    def is_open(self) -> bool:
        return self.state in (self.State.QUEUED, self.State.RUNNING)

    @property
    def percent(self) -> int:
        return min(100, 100 * self.bytes_done // self.bytes) if self.bytes else 0


STATE_LABELS = {
    Import.State.UPLOADED: _("ready to start"),
    Import.State.QUEUED: _("queued"),
    Import.State.RUNNING: _("running"),
    Import.State.DONE: _("done"),
    Import.State.REFUSED: _("refused"),
    Import.State.CANCELLED: _("cancelled"),
    Import.State.FAILED: _("failed"),
}
