from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse

K_MIN, K_MAX = 2, 9


class Project(models.Model):
    """One question asked of people about one set of prompts."""

    class Criterion(models.TextChoices):
        HELPFULNESS = "helpfulness", "Helpfulness"
        SAFETY = "safety", "Safety"
        OTHER = "other", "As the guidelines say"

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)
    criterion = models.CharField(max_length=12, choices=Criterion, default=Criterion.HELPFULNESS)
    k = models.PositiveSmallIntegerField(
        "answers per prompt",
        default=4,
        validators=[MinValueValidator(K_MIN), MaxValueValidator(K_MAX)],
        help_text="How many answers stand side by side. Two are compared, with a degree; three to nine are ranked.",
    )
    overlap = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(20)],
        help_text="How many different people judge each item.",
    )
    lease_minutes = models.PositiveSmallIntegerField(
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(24 * 60)],
        help_text="How long an item waits for the person who opened it before others may have it.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(k__gte=K_MIN, k__lte=K_MAX), name="k_is_2_to_9"),
            models.CheckConstraint(condition=models.Q(overlap__gte=1), name="overlap_is_positive"),
            models.CheckConstraint(condition=models.Q(lease_minutes__gte=1), name="lease_is_positive"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("project", args=[self.slug])

    @property
    def guideline(self) -> Guideline | None:
        """The version in force."""
        return self.guidelines.order_by("-number").first()


class Guideline(models.Model):
    """A numbered version of what annotators are told. Never changes: an edit is the next number."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="guidelines")
    number = models.PositiveIntegerField()
    text = models.TextField(help_text="Markdown.")
    html = models.TextField(editable=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="guideline_numbers_are_unique")
        ]

    def __str__(self) -> str:
        return f"{self.project} guidelines, version {self.number}"
