"""Frozen sets of judgments."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.models.projects import Project


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
        values = {"n": f"{own:,}", "imported": f"{imported:,}"}
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
