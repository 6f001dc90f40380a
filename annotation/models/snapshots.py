from __future__ import annotations

from django.conf import settings
from django.db import models

from annotation.models.projects import Project


class Snapshot(models.Model):
    """A frozen set of judgments, as a file whose SHA-256 is kept. Never changes: what is trained on it can be traced to
    every judgment, by the ids that its lines carry."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="snapshots", db_index=False)
    number = models.PositiveIntegerField()
    note = models.CharField(max_length=200, blank=True)
    counts = models.JSONField(help_text="Judgments, pairs, prompts and annotators, by split.")
    last_judgment = models.BigIntegerField(help_text="The newest judgment in it.")
    sha256 = models.CharField(max_length=64)
    path = models.CharField(max_length=400, help_text="Of the file, below the artifacts' folder.")
    manifest = models.JSONField(
        default=dict, help_text="What it is, how it came about, and what its file holds."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="snapshot_numbers_are_unique")
        ]

    def __str__(self) -> str:
        return f"Snapshot {self.number}"
