"""Judgments with their ranks, reviewers' verdicts, flags for review, and each item's agreement."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Exists, OuterRef, Q, Value
from django.utils.translation import gettext_lazy as _

from annotation.logic.degrees import LABELS
from annotation.models.people import Exclusion
from annotation.models.projects import Guideline, Project, QuestionSet
from annotation.models.prompts import Response
from annotation.models.queue import Item, Slot


def is_current(alias: str = "judgment", *, up_to: str = "") -> str:
    """SQL: whether no later revision superseded a judgment, given its alias in the statement; with `up_to`, none with an id
    up to that one."""
    limit = f" AND later.id <= {up_to}" if up_to else ""
    return (
        f"NOT EXISTS (SELECT FROM annotation_judgment AS later WHERE later.supersedes_id = {alias}.id{limit})"
    )


def is_excluded(alias: str = "judgment") -> str:
    """SQL: whether a lead has excluded the judgments of its annotator (`Exclusion`), given its alias in the statement."""
    return (
        "EXISTS (SELECT FROM annotation_exclusion AS excluded"
        f" WHERE excluded.project_id = {alias}.project_id AND excluded.user_id = {alias}.annotator_id)"
    )


class JudgmentQuerySet(models.QuerySet["Judgment"]):
    def current(self) -> JudgmentQuerySet:
        """Without judgments that a later revision superseded; `is_current` is the same in SQL."""
        later = Judgment.objects.filter(supersedes=OuterRef("pk"))
        return self.filter(~Exists(later))  # estimated right by PostgreSQL, unlike LEFT JOIN … IS NULL

    def without_excluded(self) -> JudgmentQuerySet:
        """Without those of people whom a lead has excluded; `is_excluded` is the same in SQL."""
        exclusions = Exclusion.objects.filter(project=OuterRef("project"), user=OuterRef("annotator"))
        return self.filter(~Exists(exclusions))

    def originals(self) -> JudgmentQuerySet:
        """Without revisions: one judgment for each item that an annotator submitted."""
        return self.filter(supersedes=None)


class Judgment(models.Model):
    """One annotator's judgment of one item. Append-only: the database refuses to change or delete rows (see the migration),
    and a revision points at the judgment that it supersedes."""

    class Degree(models.TextChoices):
        SIGNIFICANTLY = "significantly", _(LABELS["significantly"])
        BETTER = "better", _(LABELS["better"])
        SLIGHTLY = "slightly", _(LABELS["slightly"])
        NEGLIGIBLY = "negligibly", _(LABELS["negligibly"])

    item = models.ForeignKey(Item, models.PROTECT, related_name="judgments")
    project = models.ForeignKey(
        Project, models.PROTECT, related_name="judgments", db_index=False, help_text="As its item's."
    )
    # null: it arrived after others had filled the item's slots, so it does not count
    slot = models.ForeignKey(Slot, models.PROTECT, null=True, related_name="judgments")
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="judgments", db_index=False
    )
    guideline = models.ForeignKey(
        Guideline, models.PROTECT, null=True, related_name="judgments", db_index=False
    )
    question_set = models.ForeignKey(
        QuestionSet, models.PROTECT, null=True, related_name="judgments", db_index=False
    )
    degree = models.CharField(max_length=13, choices=Degree, null=True, help_text="Of a comparison of two.")
    shown_order = ArrayField(models.BigIntegerField(), help_text="Response ids, in the order on the screen.")
    rationale = models.TextField(blank=True)
    answers = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text="Free texts, by the keys of the project's own questions.",
    )
    # the answer that was written, if the item asked for one
    demonstration = models.ForeignKey(Response, models.PROTECT, null=True, related_name="judgments")
    seconds = models.FloatField(help_text="From opening the item to submitting it.")
    supersedes = models.OneToOneField("self", models.PROTECT, null=True, related_name="superseded_by")
    idempotency_key = models.UUIDField()
    created_at = models.DateTimeField(auto_now_add=True)
    submitted_at = models.DateTimeField(
        null=True, editable=False, help_text="When it was submitted, if a page could only send it later."
    )

    objects = JudgmentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["annotator", "idempotency_key"], name="a_submit_counts_once"),
            models.UniqueConstraint(
                fields=["item", "annotator"],
                condition=Q(supersedes=None),
                name="one_judgment_per_person_and_item",
            ),
            models.UniqueConstraint(
                fields=["slot"], condition=Q(supersedes=None), name="one_judgment_per_slot"
            ),
            models.CheckConstraint(condition=Q(seconds__gte=0), name="time_on_task_is_not_negative"),
        ]
        indexes = [
            models.Index(fields=["annotator", "created_at"], name="judgments_of_a_day"),
            models.Index(fields=["project", "id"], name="judgments_of_a_project"),
            models.Index(fields=["annotator", "id"], name="judgments_of_an_annotator"),
            BrinIndex(fields=["created_at"], autosummarize=True, name="judgments_by_time"),
        ]

    def __str__(self) -> str:
        return f"judgment {self.pk} of item {self.item_id}"

    @property
    def is_late(self) -> bool:
        """Whether it does not count, since others had filled the item's slots before."""
        return self.slot_id is None

    def placements_in_order(self) -> list[Placement]:
        """In the order in which the answers were shown."""
        return sorted(
            self.placements.all(), key=lambda placement: self.shown_order.index(placement.response_id)
        )


class Placement(models.Model):
    """The rank of a response in a judgment: 1 is best, equal ranks are ties. Rankings and comparisons, which are rankings of
    two, have the same representation."""

    judgment = models.ForeignKey(Judgment, models.PROTECT, related_name="placements", db_index=False)
    response = models.ForeignKey(Response, models.PROTECT, related_name="placements")
    rank = models.PositiveSmallIntegerField()
    quality = models.PositiveSmallIntegerField(null=True, help_text="1 to 7.")
    safe = models.BooleanField(null=True)
    flags = ArrayField(
        models.CharField(max_length=40),
        default=list,
        help_text="Of `annotation.logic.response_flags`, and the keys of the project's own flags.",
    )
    criteria = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text="Ratings, by the keys of the project's own questions.",
    )
    comments = models.JSONField(
        default=list,
        db_default=Value([], models.JSONField()),
        help_text="Comments on passages, as `annotation.logic.questions.Comment.as_data` returns them.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["judgment", "response"], name="a_response_is_placed_once"),
            models.CheckConstraint(condition=Q(rank__gte=1), name="ranks_start_at_one"),
            models.CheckConstraint(
                condition=Q(quality__range=(1, 7)) | Q(quality=None), name="quality_is_1_to_7"
            ),
        ]


class Verdict(models.Model):
    """A reviewer's decision about an item on which annotators disagree. The newest of an item holds. Append-only."""

    item = models.ForeignKey(Item, models.PROTECT, related_name="verdicts")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="verdicts")
    ranks = models.JSONField(help_text="Rank by response id, as a string.")
    degree = models.CharField(max_length=13, choices=Judgment.Degree, null=True)
    note = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)


class ReviewFlag(models.Model):
    """A judgment that was flagged for a reviewer automatically, at most once for each reason."""

    class Reason(models.TextChoices):
        REWARDS = "rewards", _("Two reward models disagree with it")

    judgment = models.ForeignKey(Judgment, models.PROTECT, related_name="review_flags", db_index=False)
    reason = models.CharField(max_length=8, choices=Reason)
    created_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["judgment", "reason"], name="a_judgment_is_flagged_once_per_reason"
            )
        ]


DISAGREEMENT = 2 / 3
"""Items with an agreement below this need a verdict."""


class Agreement(models.Model):
    """The percent agreement of an item, stored for lists. A worker measures it some time after the judgments."""

    item = models.OneToOneField(Item, models.CASCADE, primary_key=True, related_name="agreement")
    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)
    share = models.FloatField(
        help_text="Of the pairs of answers that two annotators ordered, those that both ordered the same way."
    )

    class Meta:
        indexes = [models.Index(fields=["project", "share", "item"], name="items_by_agreement")]

    @property
    def percent(self) -> int:
        return round(100 * self.share)

    @property
    def differs(self) -> bool:
        """Whether the agreement is so low that a reviewer should decide."""
        return self.share < DISAGREEMENT
