"""AI feedback: constitutions, and the opinions of judges, which are models and not people.

Opinions have a table of their own: they fill no slot, and nothing that counts, pays or compares annotators can take one for a
judgment. Exports and runs have them on request.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotation.models.projects import Project
from annotation.models.prompts import Author, Prompt, Response


class Constitution(models.Model):
    """A version of the principles by which judges compare answers and models revise them. Append-only: an edit is the next
    version."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="constitutions", db_index=False)
    number = models.PositiveIntegerField()
    principles = models.JSONField(help_text="As `annotation.logic.principles.read_principles` reads them.")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="constitution_numbers_are_unique")
        ]

    def __str__(self) -> str:
        return _("Constitution, version %(number)s") % {"number": self.number}


class OpinionSet(models.Model):
    """The opinions of one judge run, also frozen as a file with its SHA-256: what a model learned from can be read again.
    Append-only."""

    class Mode(models.TextChoices):
        CHOICE = "choice", gettext_lazy("Choice between two answers")
        SCORE = "score", gettext_lazy("Score of each answer")
        COMMENT = "comment", gettext_lazy("Comment on each answer")

    project = models.ForeignKey(Project, models.PROTECT, related_name="opinion_sets", db_index=False)
    number = models.PositiveIntegerField()
    judge = models.CharField(
        max_length=300, help_text="The name of the model, and of its server if it has one."
    )
    # the author of the responses that the judge itself wrote
    author = models.ForeignKey(Author, models.PROTECT, null=True, related_name="+")
    mode = models.CharField(max_length=7, choices=Mode)
    constitution = models.ForeignKey(Constitution, models.PROTECT, null=True, related_name="opinion_sets")
    counts = models.JSONField(help_text="`prompts`, `comparisons`, `opinions`, and `no_opinion`.")
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cost = models.FloatField(default=0.0, help_text="By the prices of the run's settings, in their currency.")
    path = models.CharField(max_length=400, help_text="The URI of its file in the store.")
    sha256 = models.CharField(max_length=64)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="opinion_set_numbers_are_unique")
        ]

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    def __str__(self) -> str:
        return _("Opinions %(number)s by %(judge)s") % {"number": self.number, "judge": self.judge}


class Opinion(models.Model):
    """A judge's opinion on two responses to a prompt: the probability that the first is better. Append-only."""

    opinion_set = models.ForeignKey(OpinionSet, models.PROTECT, related_name="opinions", db_index=False)
    prompt = models.ForeignKey(Prompt, models.PROTECT, related_name="opinions")
    first = models.ForeignKey(Response, models.PROTECT, related_name="+", db_index=False)
    second = models.ForeignKey(Response, models.PROTECT, related_name="+", db_index=False)
    # of the first response, asked with the first one shown first, and with the second one shown first; null: the judge
    # reads each response by itself
    p_ab = models.FloatField(null=True)
    p_ba = models.FloatField(null=True)
    p = models.FloatField(help_text="Without the order: the mean of the two, or from the scores.")
    score_first = models.FloatField(null=True)
    score_second = models.FloatField(null=True)
    principle = models.CharField(max_length=40, blank=True, help_text="Its key in the constitution.")
    rationale = models.TextField(blank=True)
    tokens_in = models.PositiveIntegerField(default=0)
    tokens_out = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["opinion_set", "first", "second", "principle"], name="one_opinion_on_two_responses"
            ),
            models.CheckConstraint(condition=Q(p__gte=0, p__lte=1), name="opinions_are_probabilities"),
            models.CheckConstraint(condition=~Q(first=F("second")), name="opinions_are_on_two_responses"),
        ]
