"""Rules that warn or pause annotators."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models

from annotation.models.projects import Project


class Rule(models.Model):
    """A warning or a pause for annotators whose measure falls below a threshold."""

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
        help_text="Not before so many measured judgments.",
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
