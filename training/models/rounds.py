"""Loops and their rounds: how a project's policy is improved, time after time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from annotation.models import Project, Snapshot
from training.models.runs import ModelVersion, Run


class Loop(models.Model):
    """How a project's policy is improved: the recipe, its settings, and when rounds start."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="loops", db_index=False)
    # a project whose annotators judge safety; the safety reward model is trained on its judgments
    safety_project = models.ForeignKey(
        Project, models.PROTECT, null=True, blank=True, related_name="safety_loops"
    )
    name = models.CharField(max_length=80)
    recipe = models.CharField(max_length=20, help_text="A key of `training.rounds.recipes.RECIPES`.")
    options = models.JSONField(
        default=dict, help_text="`RoundSettings` that differ from the recipe's defaults."
    )
    configs = models.JSONField(
        default=dict,
        help_text="Run settings that differ from the recipe's, by kind of run; `*` for all kinds.",
    )
    # the policy that the first round started from; rounds may start from it again or take it as the KL reference
    first_policy = models.ForeignKey(ModelVersion, models.PROTECT, related_name="+")
    active = models.BooleanField(default=True, help_text="Whether rounds start automatically.")
    after_judgments = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="A round starts after this many new judgments.",
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

    @property
    def projects(self) -> list[Project]:
        """The project, and the safety project where there is one."""
        return [self.project, *([self.safety_project] if self.safety_project else [])]


def is_failed(gate: Mapping[str, Any]) -> bool:
    """Whether a gate, as rounds store it, was not passed and holds its round."""
    return not gate["passed"] and gate.get("holds", True)


def localize_gate(gate: Mapping[str, Any]) -> dict[str, Any]:
    """A gate, as rounds store it, with label and sentence in the current language."""
    texts = gate.get("translations", {}).get(get_language(), {})
    return {key: texts.get(key, value) for key, value in gate.items() if key != "translations"}


class Round(models.Model):
    """One iteration of a loop. Its plan and settings are frozen when it starts; `step` and `state` are changed by
    `training.rounds.transitions` only, under a row lock."""

    class State(models.TextChoices):
        WORKING = "working", _("Working")
        HELD = "held", _("Held")  # a gate did not pass: a lead decides
        FAILED = "failed", _("Failed")  # one of its runs failed or was cancelled
        AWAITING = "awaiting", _("Awaiting")  # a lead promotes or rejects the policy
        CANCELLED = "cancelled", _("Cancelled")
        DONE = "done", _("Done")

    class Decision(models.TextChoices):
        PROMOTED = "promoted", _("Promoted")
        REJECTED = "rejected", _("Rejected")

    OPEN_STATES = (State.WORKING, State.HELD, State.FAILED, State.AWAITING)

    loop = models.ForeignKey(Loop, models.PROTECT, related_name="rounds", db_index=False)
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=9, choices=State, default=State.WORKING)
    plan = models.JSONField(help_text="Its steps in order, each a `PlannedStep`.")
    step = models.CharField(max_length=40)
    step_since = models.DateTimeField()
    recipe = models.CharField(max_length=20)
    options = models.JSONField(help_text="Every field of `RoundSettings`, resolved.")
    configs = models.JSONField(default=dict)
    estimate = models.JSONField(
        default=dict, help_text="Expected seconds and bytes, estimated before the start."
    )
    snapshot = models.ForeignKey(Snapshot, models.PROTECT, null=True, related_name="rounds")
    safety_snapshot = models.ForeignKey(Snapshot, models.PROTECT, null=True, related_name="safety_rounds")
    policy_before = models.ForeignKey(ModelVersion, models.PROTECT, related_name="rounds_before")
    policy_after = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="rounds_after")
    gates = models.JSONField(
        default=list, help_text="Results of its gates: figure, threshold, passed, and the reason."
    )
    report = models.JSONField(default=dict, help_text="The evaluation of the new policy.")
    overrules = models.JSONField(
        default=list, help_text="Gates that a lead overruled: who (a pseudonym), when and why."
    )
    decision = models.CharField(max_length=8, choices=Decision, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    decision_note = models.TextField(blank=True)
    error = models.TextField(blank=True)
    # null: started by the loop's schedule
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
        return gettext("Round %(number)s") % {"number": self.number}

    def get_absolute_url(self) -> str:
        return reverse("round", args=[self.loop.project.slug, self.pk])

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN_STATES

    @property
    def localized_gates(self) -> list[dict[str, Any]]:
        """Its gates, with label and sentence in the current language."""
        return [localize_gate(gate) for gate in self.gates]

    @property
    def failed_gates(self) -> list[str]:
        """The labels of the gates that were not passed, and hold the round; in the current language."""
        return [gate["label"] for gate in self.localized_gates if is_failed(gate)]

    @property
    def holding_gates(self) -> list[str]:
        """Those of the current step."""
        return [
            gate["label"] for gate in self.localized_gates if is_failed(gate) and gate["step"] == self.step
        ]

    @property
    def is_override(self) -> bool:
        """Whether its policy was promoted though a gate was not passed."""
        return self.decision == self.Decision.PROMOTED and bool(self.failed_gates)

    @property
    def step_index(self) -> int:
        """The index of the current step in the plan."""
        return next(n for n, step in enumerate(self.plan) if step["name"] == self.step)

    @property
    def current_step(self) -> dict[str, Any]:
        """The plan's entry of the current step."""
        return dict(self.plan[self.step_index])

    def run_of(self, part: str) -> Run | None:
        """The run of a part of the plan, if it was started; a retry's replaces the earlier one's."""
        return self.runs.filter(part=part, superseded=False).select_related("output").first()

    def output_of(self, part: str) -> ModelVersion | None:
        """The model that the run of a part made."""
        return getattr(self.run_of(part), "output", None)
