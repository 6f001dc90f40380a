from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Random

from annotation.models.projects import Project
from annotation.models.prompts import Prompt, Response


class Item(models.Model):
    """A prompt and what people are asked about it: to order its k responses; with none, to write one; with a single one,
    to make it better."""

    class State(models.TextChoices):
        OPEN = "open"
        RESTRICTED = "restricted"  # for reviewers and leads only
        RETIRED = "retired"  # for nobody any more

    project = models.ForeignKey(Project, models.PROTECT, related_name="items")
    prompt = models.ForeignKey(Prompt, models.PROTECT, related_name="items")
    responses = models.ManyToManyField(Response, through="Candidate", related_name="items")
    # with which probability this prompt was chosen from the pool it was drawn from
    probability = models.FloatField(default=1.0)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    retired_reason = models.CharField(max_length=200, blank=True)
    # the ranks that are right, by response id as a string: {"12": 1, "13": 2}. Such an item has no slots that wait: one is
    # made for each person who is given it
    gold = models.JSONField(null=True, blank=True)
    gold_explanation = models.TextField(blank=True, help_text="Why; reviewers read it.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(probability__gt=0, probability__lte=1), name="probability_is_one"
            )
        ]
        indexes = [models.Index(fields=["project", "id"], name="gold_items", condition=Q(gold__isnull=False))]

    def __str__(self) -> str:
        return f"item {self.pk}"


class Candidate(models.Model):
    """A response that stands in an item."""

    item = models.ForeignKey(Item, models.PROTECT, related_name="candidates", db_index=False)
    response = models.ForeignKey(Response, models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "response"], name="a_response_stands_once")]


class SlotQuerySet(models.QuerySet["Slot"]):
    def release(self) -> None:
        """End the leases among them: a slot that was made for one person is gone, the others are free again."""
        held = self.filter(state=Slot.State.LEASED)
        held.filter(gold=True).delete()
        held.update(
            state=Slot.State.OPEN,
            annotator=None,
            token=None,
            leased_until=None,
            opened_at=None,
            shown_order=None,
            control=False,
        )


class Slot(models.Model):
    """One wanted judgment: an item has exactly as many as its overlap asks for, so it can never get more. A gold item has
    none that wait: one is made for each person who is given it.

    `open -> leased -> done`. A lease that has run out is as good as open.
    """

    class State(models.TextChoices):
        OPEN = "open"
        LEASED = "leased"
        DONE = "done"

    item = models.ForeignKey(Item, models.PROTECT, related_name="slots", db_index=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="slots")
    state = models.CharField(max_length=6, choices=State, default=State.OPEN)
    priority = models.SmallIntegerField(default=0)
    random_key = models.FloatField(db_default=Random())
    # a second draw for the control slice: the queue's own order says nothing about it, so what is left of it stays even
    control_key = models.FloatField(db_default=Random())
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="slots"
    )
    token = models.UUIDField(null=True, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True)
    # when its item came on the screen; null while the slot is held ahead, for the page after this one
    opened_at = models.DateTimeField(null=True, blank=True)
    restricted = models.BooleanField(default=False, help_text="As its item is: for reviewers and leads only.")
    control = models.BooleanField(default=False, help_text="Handed out as part of the uniform control slice.")
    gold = models.BooleanField(
        default=False, help_text="Made for one person and an item whose answer is known; no wanted judgment."
    )
    shown_order = ArrayField(models.BigIntegerField(), null=True, blank=True)

    objects = SlotQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "annotator"], name="nobody_judges_an_item_twice"),
            models.CheckConstraint(
                name="a_slot_is_open_leased_or_done",
                condition=Q(
                    state="open",
                    annotator=None,
                    token=None,
                    leased_until=None,
                    shown_order=None,
                    gold=False,
                )
                | Q(state="leased", annotator__isnull=False, token__isnull=False, leased_until__isnull=False)
                | Q(state="done", annotator__isnull=False),
            ),
        ]
        indexes = [
            # the claim's own indexes, in the order in which it looks
            models.Index(
                fields=["project", "-restricted", "-priority", "random_key", "id"],
                name="slots_to_claim",
                condition=~Q(state="done") & Q(gold=False),
            ),
            models.Index(
                fields=["project", "control_key", "id"],
                name="slots_for_control",
                condition=~Q(state="done") & Q(gold=False),
            ),
            models.Index(fields=["annotator", "project"], name="slots_leased", condition=Q(state="leased")),
        ]

    def __str__(self) -> str:
        return f"slot {self.pk} of item {self.item_id}"


class Draft(models.Model):
    """What an annotator had on the screen before submitting; gone once they submit or skip."""

    item = models.ForeignKey(Item, models.CASCADE, related_name="drafts", db_index=False)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="drafts")
    data = models.JSONField()
    saved_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "annotator"], name="one_draft_per_item")]


class Skip(models.Model):
    """Someone could not judge an item, and why. Their slot is open again, for somebody else."""

    class Reason(models.TextChoices):
        ALL_BAD = "all_bad", "All answers are bad"
        IDENTICAL = "identical", "The answers are the same"
        CANNOT_JUDGE = "cannot_judge", "I cannot judge this"
        UNSAFE = "unsafe", "Unsafe to read"
        BROKEN = "broken", "It is not shown properly"
        REVIEW = "review", "A reviewer should look at it"

    item = models.ForeignKey(Item, models.PROTECT, related_name="skips", db_index=False)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="skips")
    reason = models.CharField(max_length=12, choices=Reason)
    note = models.TextField(blank=True)
    # what they had said, where it was refused or they sent it to a reviewer
    data = models.JSONField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "annotator"], name="nobody_skips_an_item_twice")
        ]
