"""Projects with their settings, and the versions of their guidelines."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext, override
from django.utils.translation import gettext_lazy as _
from django_stubs_ext import StrOrPromise

from annotation.logic.judgment_input import EXTRA_QUESTIONS
from annotation.logic.limits import MAX_ITEMS_AHEAD, MAX_RESPONSES, MIN_RESPONSES


def _share_field(help_text: StrOrPromise, default: float = 0.0) -> models.FloatField[float, float]:
    return models.FloatField(
        default=default, validators=[MinValueValidator(0.0), MaxValueValidator(1.0)], help_text=help_text
    )


class Project(models.Model):
    """One annotation task over one set of prompts, with its settings."""

    class Criterion(models.TextChoices):
        HELPFULNESS = "helpfulness", _("Helpfulness")
        SAFETY = "safety", _("Safety")
        OTHER = "other", _("As the guidelines say")

    class Task(models.TextChoices):
        PREFERENCES = "preferences", _("Order answers")
        DEMONSTRATIONS = "demonstrations", _("Write answers")

    class Rationale(models.TextChoices):
        NONE = "none", _("Do not ask")
        OPTIONAL = "optional", _("May be given")
        REQUIRED = "required", _("Must be given")

    class Images(models.TextChoices):
        BLOCKED = "blocked", _("As links")
        PROXIED = "proxied", _("Through this site")
        SHOWN = "shown", _("From their own sites")

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)
    criterion = models.CharField(max_length=12, choices=Criterion, default=Criterion.HELPFULNESS)
    task = models.CharField(
        max_length=14,
        choices=Task,
        default=Task.PREFERENCES,
        help_text="Rank two or more answers to each prompt, or write an answer to it.",
    )
    k = models.PositiveSmallIntegerField(
        "answers per prompt",
        default=4,
        validators=[MinValueValidator(MIN_RESPONSES), MaxValueValidator(MAX_RESPONSES)],
        help_text=_("Answers shown side by side. Two are compared, with a degree; three to nine are ranked."),
    )
    overlap = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(20)],
        help_text=_("How many different people judge each item."),
    )
    column_mapping = models.JSONField(
        default=dict,
        editable=False,
        help_text="The role of each column in the last file whose columns were mapped.",
    )
    lease_minutes = models.PositiveSmallIntegerField(
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(24 * 60)],
        help_text="How long an item is reserved for the annotator who opened it.",
    )
    items_ahead = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_ITEMS_AHEAD)],
        help_text="How many items after the current one a page holds for its annotator, to go on while offline.",
    )
    # --- questions beside the ranks ---
    asks_quality = models.BooleanField(
        "quality, 1 to 7", default=False, help_text="For every answer, before the ranking."
    )
    asks_flags = models.BooleanField(
        "flags",
        default=False,
        help_text=_("InstructGPT's list of problems and features of an answer."),
    )
    asks_safety = models.BooleanField(
        "safe or unsafe",
        default=False,
        help_text=_("For every answer. An unsafe answer cannot be ranked above a safe one."),
    )
    rationale = models.CharField(max_length=8, choices=Rationale, default=Rationale.NONE)
    images = models.CharField(
        "pictures in texts",
        max_length=7,
        choices=Images,
        default=Images.BLOCKED,
        help_text=_("From their own sites: each of them sees the address of everyone who looks."),
    )
    # the current version of the project's own questions; null: it asks none
    question_set = models.ForeignKey(
        "QuestionSet", models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )
    # --- how items are given out ---
    gold_rate = _share_field(_("Share of items with a known answer, to measure annotators' accuracy."))
    control_rate = _share_field(_("Share of items picked at random from the queue, ignoring priority."))
    qualification_items = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(100)],
        help_text=_(
            "How many items with a known answer an annotator judges before their real work; 0 for none."
        ),
    )
    qualification_accuracy = _share_field(
        _("Share of their known pairs that must be ordered correctly."), default=0.7
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(k__gte=MIN_RESPONSES, k__lte=MAX_RESPONSES), name="k_is_2_to_9"
            ),
            models.CheckConstraint(condition=models.Q(overlap__gte=1), name="overlap_is_positive"),
            models.CheckConstraint(condition=models.Q(lease_minutes__gte=1), name="lease_is_positive"),
            models.CheckConstraint(
                condition=models.Q(gold_rate__gte=0, control_rate__gte=0)
                & models.Q(gold_rate__lte=1 - models.F("control_rate")),
                name="gold_and_control_are_shares",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Check settings against each other.

        Raises:
            ValidationError
        """
        total = self.gold_rate + self.control_rate
        if total > 1:
            raise ValidationError(
                {
                    "control_rate": gettext(
                        "Gold items and the random sample are %(percent)s%% of all items together, which is more than 100%%."
                    )
                    % {"percent": f"{100 * total:.4g}"}
                }
            )

    def get_absolute_url(self) -> str:
        return reverse("project", args=[self.slug])

    @property
    def extra_questions(self) -> list[str]:
        """What annotators answer beside the ranks: some of `EXTRA_QUESTIONS`."""
        enabled = {
            "quality": self.asks_quality,
            "flags": self.asks_flags,
            "safety": self.asks_safety,
            "rationale": self.rationale != self.Rationale.NONE,
            "required rationale": self.rationale == self.Rationale.REQUIRED,
        }
        return [name for name in EXTRA_QUESTIONS if enabled[name]]

    @property
    def work_label(self) -> str:
        """What an annotator does with an item: "Rank 4 answers"."""
        if self.task == self.Task.DEMONSTRATIONS:
            return gettext("Write an answer")
        if self.k == 2:
            return gettext("Compare two answers")
        return gettext("Rank %(k)s answers") % {"k": self.k}

    @property
    def criterion_in_english(self) -> str:
        """The label of the criterion, for exports."""
        with override("en"):
            return self.get_criterion_display()

    @property
    def guideline(self) -> Guideline | None:
        """The current version."""
        return self.guidelines.order_by("-number").first()


class ProjectCount(models.Model):
    """What one statement added to a project's counts: the sum over its rows is the count, exact in every transaction. Triggers
    only insert rows (see the migration), so that nobody waits for a long import; a worker merges them."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="counts", db_constraint=False)
    slots = models.BigIntegerField(default=0, db_default=0, help_text="Without those of gold items.")
    slots_done = models.BigIntegerField(default=0, db_default=0)
    prompts = models.BigIntegerField(default=0, db_default=0)
    prompts_held_out = models.BigIntegerField(default=0, db_default=0)
    responses = models.BigIntegerField(default=0, db_default=0)
    imported_judgments = models.BigIntegerField(default=0, db_default=0)


class Guideline(models.Model):
    """A version of the guidelines for annotators. Append-only: an edit is the next version."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="guidelines", db_index=False)
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


class QuestionSet(models.Model):
    """A version of a project's own questions to annotators. Append-only: an edit is the next version."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="question_sets", db_index=False)
    number = models.PositiveIntegerField()
    questions = models.JSONField(help_text="As `annotation.logic.questions.read_questions` reads them.")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="question_set_numbers_are_unique")
        ]

    def __str__(self) -> str:
        return f"{self.project} questions, version {self.number}"
