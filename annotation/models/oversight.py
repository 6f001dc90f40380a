from __future__ import annotations

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MinValueValidator
from django.db import models

from annotation.models.projects import Project


class Rule(models.Model):
    """What a lead wants to happen when somebody's work falls below a mark."""

    class Measure(models.TextChoices):
        GOLD = "gold", "Accuracy on gold items"
        AGREEMENT = "agreement", "Agreement with others"
        SECONDS = "seconds", "Median seconds a judgment"

    class Action(models.TextChoices):
        WARN = "warn", "Warn them"
        PAUSE = "pause", "Pause their work"

    project = models.ForeignKey(Project, models.CASCADE, related_name="rules", db_index=False)
    measure = models.CharField(max_length=9, choices=Measure)
    below = models.FloatField(
        validators=[MinValueValidator(0.0)], help_text="A share from 0 to 1; or seconds."
    )
    after = models.PositiveSmallIntegerField(
        default=10,
        validators=[MinValueValidator(1)],
        help_text="Not before so many judgments that can be measured.",
    )
    action = models.CharField(max_length=5, choices=Action)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "measure", "action"], name="one_rule_per_measure_and_action"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.get_measure_display()} below {self.below:g}"


class Deed(models.Model):
    """One line of the audit trail: who did what, when. Rows are only added.

    `actor` is null where the site itself acted, by a rule or a schedule.
    """

    project = models.ForeignKey(Project, models.PROTECT, null=True, related_name="deeds", db_index=False)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    verb = models.CharField(max_length=40, help_text="As in `annotation.audit.VERBS`.")
    subject = models.CharField(max_length=200, help_text="What it was done to, in words.")
    data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "-id"], name="deeds_of_a_project")]


class Import(models.Model):
    """A file on its way in: uploaded, looked at, then read by a worker. The row is the queue, a message only wakes a
    worker."""

    class State(models.TextChoices):
        UPLOADED = "uploaded"  # its lead has yet to start it
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        REFUSED = "refused"  # the file has errors; nothing of it was kept
        CANCELLED = "cancelled"
        FAILED = "failed"

    project = models.ForeignKey(Project, models.CASCADE, related_name="imports")
    name = models.CharField(max_length=200)
    path = models.CharField(max_length=400, help_text="Of the file, below the artifacts' folder.")
    bytes = models.BigIntegerField()
    state = models.CharField(max_length=9, choices=State, default=State.UPLOADED)
    shape = models.CharField(max_length=40, blank=True, help_text="What the file was recognised as.")
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

    def __str__(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        return self.state in (self.State.QUEUED, self.State.RUNNING)

    @property
    def percent(self) -> int:
        return min(100, 100 * self.bytes_done // self.bytes) if self.bytes else 0
