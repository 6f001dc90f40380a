"""The audit trail: one row for each action of a user or of the site."""

from __future__ import annotations

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from annotation.models.projects import Project


class AuditEntry(models.Model):
    """One line of the audit trail: who did what, and when. Append-only.

    `actor` is null if the site itself acted, by a rule or a schedule.
    """

    project = models.ForeignKey(
        Project, models.PROTECT, null=True, related_name="audit_entries", db_index=False
    )
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    verb = models.CharField(max_length=40, help_text="As in `annotation.audit.VERBS`.")
    subject = models.CharField(max_length=200, help_text="The object of the action, in words.")
    data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "-id"], name="audit_of_a_project")]
