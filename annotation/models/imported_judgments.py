"""Judgments that files bring: who made them, somewhere else, and what they preferred."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from annotation.models.imports import Import
from annotation.models.judgments import Judgment
from annotation.models.people import User
from annotation.models.queue import Item


class ImportedJudgment(models.Model):
    """A judgment that an import brought. It has a table of its own, so that it fills no slot and nothing that counts, pays or
    compares the project's annotators can take it for one of theirs; exports, snapshots and runs have it on request.
    Append-only.

    Its id is from the sequence of `Judgment`'s: one number is one judgment, whichever table it is in.
    """

    id = models.BigIntegerField(primary_key=True)
    item = models.ForeignKey(Item, models.PROTECT, related_name="imported_judgments", db_index=False)
    # null: it came in the body of a call
    source = models.ForeignKey(Import, models.PROTECT, null=True, related_name="imported_judgments")
    annotator = models.CharField(max_length=200, blank=True, help_text="As the file calls them.")
    account = models.CharField(
        max_length=7, choices=User.Account, help_text="Whether a person or a model judged."
    )
    responses = ArrayField(
        models.BigIntegerField(), help_text="Their ids; the following lists are in this order."
    )
    ranks = ArrayField(models.PositiveSmallIntegerField())
    quality = ArrayField(models.PositiveSmallIntegerField(null=True), null=True, help_text="1 to 7.")
    safe = ArrayField(models.BooleanField(null=True), null=True)
    shown_order = ArrayField(
        models.BigIntegerField(), null=True, help_text="Response ids, in the order on the screen."
    )
    degree = models.CharField(max_length=13, choices=Judgment.Degree, null=True)
    rationale = models.TextField(blank=True)
    judged_at = models.DateTimeField(null=True, help_text="As the file says.")
    details = models.JSONField(default=dict, help_text="What else the file says of it.")
    digest = models.CharField(
        max_length=64, help_text="Of what was judged, and by whom: the same file again brings nothing new."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "digest"], name="a_judgment_is_imported_once"),
        ]
