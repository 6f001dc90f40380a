"""The loop of a project, and its rounds."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse

from annotation.models import Project, Snapshot
from training.models.runs import ModelVersion


class Loop(models.Model):
    """How a project's policy is improved, round after round: by which recipe, with which settings, and when."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="loops", db_index=False)
    # judgments of what is safe, from which a second reward model learns
    safety_project = models.ForeignKey(
        Project, models.PROTECT, null=True, blank=True, related_name="safety_loops"
    )
    name = models.CharField(max_length=80)
    recipe = models.CharField(max_length=20, help_text="As in `training.rounds.recipes`.")
    options = models.JSONField(default=dict, help_text="What differs from the defaults of `RoundSettings`.")
    configs = models.JSONField(
        default=dict, help_text="Settings of its runs that differ from the recipe's: by kind, `*` for all."
    )
    # where the first round began: what policies are compared with, and rounds may start from again
    first_policy = models.ForeignKey(ModelVersion, models.PROTECT, related_name="+")
    active = models.BooleanField(default=True, help_text="Whether rounds start by themselves.")
    after_judgments = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="A round starts once so many judgments are new.",
    )
    weekdays = ArrayField(
        models.PositiveSmallIntegerField(validators=[MaxValueValidator(6)]),
        default=list,
        blank=True,
        help_text="A round starts on these days; 0 is Monday.",
    )
    hour = models.PositiveSmallIntegerField(
        default=6, validators=[MaxValueValidator(23)], help_text="From this hour (UTC)."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="loop_names_are_unique"),
            models.CheckConstraint(
                condition=Q(safety_project=None) | ~Q(safety_project=models.F("project")),
                name="safety_is_judged_elsewhere",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Round(models.Model):
    """One turn of a loop. Its plan and settings are frozen when it starts; where it stands is one row, which only
    conditional updates move (`training.rounds.transitions`)."""

    class State(models.TextChoices):
        WORKING = "working"
        HELD = "held"  # a gate said no: a lead decides
        FAILED = "failed"  # a run of it failed, or was cancelled
        AWAITING = "awaiting"  # a lead promotes, or not
        CANCELLED = "cancelled"
        DONE = "done"

    class Decision(models.TextChoices):
        PROMOTED = "promoted"
        REJECTED = "rejected"

    OPEN_STATES = (State.WORKING, State.HELD, State.FAILED, State.AWAITING)

    loop = models.ForeignKey(Loop, models.PROTECT, related_name="rounds", db_index=False)
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=9, choices=State, default=State.WORKING)
    plan = models.JSONField(help_text="Its steps, in order: name, title, what it does, and its runs.")
    step = models.CharField(max_length=40)
    step_since = models.DateTimeField()
    recipe = models.CharField(max_length=20)
    options = models.JSONField(help_text="Every setting, resolved.")
    configs = models.JSONField(default=dict)
    estimate = models.JSONField(default=dict, help_text="Seconds and bytes, expected before the start.")
    snapshot = models.ForeignKey(Snapshot, models.PROTECT, null=True, related_name="rounds")
    safety_snapshot = models.ForeignKey(Snapshot, models.PROTECT, null=True, related_name="safety_rounds")
    policy_before = models.ForeignKey(ModelVersion, models.PROTECT, related_name="rounds_before")
    policy_after = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="rounds_after")
    gates = models.JSONField(
        default=list, help_text="Each with its figure, threshold, and why it passed or not."
    )
    report = models.JSONField(default=dict, help_text="What the evaluation found.")
    overrules = models.JSONField(
        default=list, help_text="Gates that a lead overruled: who, by pseudonym, when and why."
    )
    decision = models.CharField(max_length=8, choices=Decision, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    decision_note = models.TextField(blank=True)
    error = models.TextField(blank=True)
    # null: it started by itself
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["loop", "number"], name="round_numbers_are_unique"),
            models.UniqueConstraint(
                fields=["loop"],
                condition=Q(state__in=["working", "held", "failed", "awaiting"]),
                name="one_open_round_per_loop",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["done", "cancelled"], finished_at__isnull=False)
                | Q(state__in=["working", "held", "failed", "awaiting"], finished_at=None),
                name="what_is_over_has_an_end",
            ),
        ]

    def __str__(self) -> str:
        return f"Round {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("round", args=[self.loop.project.slug, self.pk])

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN_STATES

    @property
    def place(self) -> int:
        """Where in the plan it stands, from 0."""
        return next(n for n, step in enumerate(self.plan) if step["name"] == self.step)

    @property
    def now(self) -> dict[str, Any]:
        """The step of the plan at which it stands."""
        return dict(self.plan[self.place])
