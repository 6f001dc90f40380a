"""Items, their slots, drafts and skips."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Random
from django.utils.translation import gettext_lazy as _

from annotation.models.batches import Batch
from annotation.models.projects import Project
from annotation.models.prompts import Prompt, Response


class Item(models.Model):
    """A prompt with its k responses, to be ranked; with no response, one is to be written, and with one, it is to be
    improved."""

    class State(models.TextChoices):
        OPEN = "open"
        RESTRICTED = "restricted"  # for reviewers and leads only
        RETIRED = "retired"  # for nobody

    project = models.ForeignKey(Project, models.PROTECT, related_name="items", db_index=False)
    prompt = models.ForeignKey(Prompt, models.PROTECT, related_name="items")
    responses = models.ManyToManyField(Response, through="Candidate", related_name="items")
    # with which probability this prompt was chosen from the pool it was drawn from
    probability = models.FloatField(default=1.0)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    retired_reason = models.CharField(max_length=200, blank=True)
    # the correct ranks by response id, as a string: {"12": 1, "13": 2}. Such an item has no open slots: a slot is created
    # for each annotator who gets it
    gold = models.JSONField(null=True, blank=True)
    gold_explanation = models.TextField(blank=True, help_text="Why; reviewers read it.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(probability__gt=0, probability__lte=1), name="probability_is_one"
            )
        ]
        indexes = [
            models.Index(fields=["project", "id"], name="items_of_a_project"),
            models.Index(fields=["project", "id"], name="gold_items", condition=Q(gold__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"item {self.pk}"


class Candidate(models.Model):
    """A response of an item."""

    item = models.ForeignKey(Item, models.PROTECT, related_name="candidates", db_index=False)
    response = models.ForeignKey(Response, models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "response"], name="a_response_stands_once")]


class SlotQuerySet(models.QuerySet["Slot"]):
    def release(self) -> None:
        """End the leases among these slots: those for one annotator alone are deleted, the others are open again."""
        leased = self.filter(state=Slot.State.LEASED)
        leased.filter(Q(gold=True) | Q(chat=True)).delete()
        leased.update(
            state=Slot.State.OPEN,
            annotator=None,
            token=None,
            leased_until=None,
            opened_at=None,
            shown_order=None,
            control=False,
        )


class Slot(models.Model):
    """A place for one judgment: an item has exactly as many slots as its overlap, so it can never get more judgments. A gold
    item has no open ones: a slot is created for each annotator who gets it.

    `open -> leased -> done`. A slot whose lease has expired counts as open.
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
    # drawn independently of the queue's order, so that what is left of the control slice stays uniform
    control_key = models.FloatField(db_default=Random())
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="slots"
    )
    token = models.UUIDField(null=True, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True)
    # when its item came on the screen; null while the slot is claimed ahead, for the next page
    opened_at = models.DateTimeField(null=True, blank=True)
    restricted = models.BooleanField(default=False, help_text="As its item: for reviewers and leads only.")
    control = models.BooleanField(default=False, help_text="Given out as part of the uniform control slice.")
    gold = models.BooleanField(
        default=False,
        help_text="Created for one annotator and a gold item; does not count towards the overlap.",
    )
    chat = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Of a live chat: only its own annotator gets it, and only there.",
    )
    shown_order = ArrayField(models.BigIntegerField(), null=True, blank=True)
    # reserved for the batch's people while the batch is open and not overdue
    batch = models.ForeignKey(
        Batch, models.SET_NULL, null=True, blank=True, related_name="slots", db_index=False
    )

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
            # the indexes of the claim, in its order
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
            models.Index(
                fields=["batch", "-priority", "random_key", "id"],
                name="slots_of_a_batch",
                condition=Q(batch__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"slot {self.pk} of item {self.item_id}"


class Draft(models.Model):
    """What an annotator has entered for an item; deleted when they submit or skip."""

    item = models.ForeignKey(Item, models.CASCADE, related_name="drafts", db_index=False)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="drafts")
    data = models.JSONField()
    saved_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "annotator"], name="one_draft_per_item")]


class Skip(models.Model):
    """An annotator skipped an item, with the reason."""

    class Reason(models.TextChoices):
        ALL_BAD = "all_bad", _("All answers are bad")
        IDENTICAL = "identical", _("The answers are the same")
        CANNOT_JUDGE = "cannot_judge", _("I cannot judge this")
        UNSAFE = "unsafe", _("Unsafe to read")
        BROKEN = "broken", _("It is not shown properly")
        REVIEW = "review", _("A reviewer should look at it")

    item = models.ForeignKey(Item, models.PROTECT, related_name="skips", db_index=False)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="skips")
    reason = models.CharField(max_length=12, choices=Reason)
    note = models.TextField(blank=True)
    seconds = models.FloatField(null=True, help_text="From opening the item to skipping it.")
    # what they had entered, if they sent the item to a reviewer
    data = models.JSONField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    submitted_at = models.DateTimeField(null=True, editable=False, help_text="As of a judgment.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "annotator"], name="nobody_skips_an_item_twice")
        ]
