"""Rules that warn or pause annotators."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotation.models.projects import Project


class Rule(models.Model):
    """A warning or a pause for annotators whose measure falls below a threshold, or whom the checks of the Quality page mark
    (`annotation.logic.outliers`)."""

    class Measure(models.TextChoices):
        GOLD = "gold", _("Gold accuracy")
        AGREEMENT = "agreement", _("Agreement with others")
        SECONDS = "seconds", _("Median time per item, in seconds")
        CHECKS = "checks", _("Checks of the Quality page")

    class Action(models.TextChoices):
        WARN = "warn", _("Warn them")
        PAUSE = "pause", _("Pause their work")

    project = models.ForeignKey(Project, models.CASCADE, related_name="rules", db_index=False)
    measure = models.CharField(max_length=9, choices=Measure)
    below = models.FloatField(
        validators=[MinValueValidator(0.0)], help_text="A share from 0 to 1; or seconds; 0 for the checks."
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
        if self.measure == self.Measure.CHECKS:
            return gettext("%(action)s: %(measure)s") % {
                "action": self.get_action_display(),
                "measure": self.get_measure_display(),
            }
        return gettext("%(action)s: %(measure)s below %(below)s") % {
            "action": self.get_action_display(),
            "measure": self.get_measure_display(),
            "below": f"{self.below:g}",
        }
