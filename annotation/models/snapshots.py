"""Frozen sets of judgments, and the jobs of workers that create those of large projects."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotation.logic.translation import format_number
from annotation.models.projects import Project
from annotation.models.worker_jobs import WorkerJob


class Snapshot(models.Model):
    """A frozen set of judgments: a file and its SHA-256. Append-only; each line has the id of its judgment, so that a model
    can be traced to the judgments that it was trained on."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="snapshots", db_index=False)
    number = models.PositiveIntegerField()
    note = models.CharField(max_length=200, blank=True)
    counts = models.JSONField(help_text="Judgments, pairs, prompts and annotators, by split.")
    last_judgment = models.BigIntegerField(help_text="The newest judgment in it.")
    sha256 = models.CharField(max_length=64)
    path = models.CharField(max_length=400, help_text="The URI of its file in the store.")
    manifest = models.JSONField(default=dict, help_text="Description, selection and contents of the file.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="snapshot_numbers_are_unique")
        ]

    @property
    def summary(self) -> str:
        """How many judgments it has; imported ones are counted apart."""
        own, imported = self.counts["judgments"], self.counts.get("imported", 0)
        values = {"n": format_number(own), "imported": format_number(imported)}
        if imported:
            return (
                ngettext(
                    "%(n)s judgment, and %(imported)s imported",
                    "%(n)s judgments, and %(imported)s imported",
                    own,
                )
                % values
            )
        return ngettext("%(n)s judgment", "%(n)s judgments", own) % values

    def __str__(self) -> str:
        return _("Snapshot %(number)s") % {"number": self.number}


class SnapshotJob(WorkerJob):
    """A snapshot of a large project that a worker creates."""

    class State(models.TextChoices):
        QUEUED = "queued", gettext_lazy("queued")
        RUNNING = "running", gettext_lazy("running")
        DONE = "done", gettext_lazy("done")
        FAILED = "failed", gettext_lazy("failed")
        CANCELLED = "cancelled", gettext_lazy("cancelled")

    PROGRESS = "judgments_done"

    project = models.ForeignKey(Project, models.CASCADE, related_name="snapshot_jobs")
    note = models.CharField(max_length=200, blank=True)
    licence = models.CharField(max_length=100, blank=True)
    imported = models.BooleanField(default=False, help_text="With the imported judgments.")
    state = models.CharField(max_length=9, choices=State, default=State.QUEUED)
    judgments_total = models.BigIntegerField(help_text="About how many there are.")
    judgments_done = models.BigIntegerField(default=0)
    error = models.TextField(blank=True)
    snapshot = models.OneToOneField(Snapshot, models.PROTECT, null=True, related_name="job")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project"], condition=WorkerJob.OPEN, name="one_open_snapshot_job_a_project"
            )
        ]

    def __str__(self) -> str:
        return f"{self.project}: {self.note or self.created_at}"

    @property
    def percent(self) -> int:
        return min(100, 100 * self.judgments_done // self.judgments_total)


class ExportFile(models.Model):
    """An export of a snapshot as a file in the store. It can be made again, byte for byte."""

    snapshot = models.ForeignKey(Snapshot, models.CASCADE, related_name="export_files", db_index=False)
    key = models.CharField(max_length=64, help_text="Equal for equal bytes: the file's ETag.")
    uri = models.CharField(max_length=400, help_text="The URI of the file in the store, with its SHA-256.")
    used_at = models.DateTimeField(db_index=True, help_text="When it was last downloaded.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["snapshot", "key"], name="export_files_are_stored_once")
        ]
