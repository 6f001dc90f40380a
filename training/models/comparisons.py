"""Comparisons of two policies by a reward model, prompt by prompt."""

from __future__ import annotations

from django.db import models

from annotation.models import Prompt
from training.models.runs import ModelVersion, Run


class Comparison(models.Model):
    """What a reward model's scores say of the answers of two policies to the same prompts. Written when the run that scored
    them is done, and never changed."""

    run = models.OneToOneField(Run, models.CASCADE, related_name="comparison")
    scorer = models.ForeignKey(ModelVersion, models.PROTECT, related_name="+", db_index=False)
    policy = models.ForeignKey(ModelVersion, models.PROTECT, related_name="comparisons")
    baseline = models.ForeignKey(ModelVersion, models.PROTECT, related_name="baseline_comparisons")
    win_rate = models.JSONField(
        help_text="Of the policy over the baseline: mean, low, high, prompts, and held_out, the number of held-out prompts."
    )

    class Meta:
        ordering = ["-run"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(policy=models.F("baseline")), name="a_policy_is_not_its_baseline"
            )
        ]

    def __str__(self) -> str:
        return f"{self.policy} – {self.baseline}"


class ComparedPrompt(models.Model):
    """One prompt of a comparison.

    gain: the mean score of the policy's answers less that of the baseline's. win_rate: the share of the pairs of answers in which
    the policy's scores higher, a tie counting one half. policy_length, baseline_length: mean characters of the answers.
    """

    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="prompts", db_index=False)
    prompt = models.ForeignKey(Prompt, models.PROTECT, related_name="+", db_index=False)
    gain = models.FloatField()
    win_rate = models.FloatField()
    policy_length = models.FloatField()
    baseline_length = models.FloatField()
    scores = models.JSONField(help_text="Of each answer, by the id of its response.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "prompt"], name="a_prompt_is_compared_once")
        ]
        indexes = [models.Index(fields=["comparison", "gain", "prompt"], name="prompts_by_gain")]
