"""Live chats: an annotator writes, two policies answer, and the choice is a judgment like any other."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotation.models.projects import Guideline, Project
from annotation.models.prompts import Author, Prompt, Response
from annotation.models.queue import Item


def _temperature_field(default: float) -> models.FloatField[float, float]:
    return models.FloatField(default=default, validators=[MinValueValidator(0.0), MaxValueValidator(2.0)])


class ChatSettings(models.Model):
    """Which two policies answer in a project's chats, and how long."""

    project = models.OneToOneField(Project, models.CASCADE, related_name="chat_settings")
    enabled = models.BooleanField(_("annotators may chat"), default=False)
    # null: the project's current policy when a message is answered
    first_author = models.ForeignKey(Author, models.PROTECT, null=True, blank=True, related_name="+")
    first_server = models.CharField(max_length=200, blank=True, help_text="Empty: this site serves it.")
    first_temperature = _temperature_field(1.0)
    second_author = models.ForeignKey(Author, models.PROTECT, null=True, blank=True, related_name="+")
    second_server = models.CharField(max_length=200, blank=True)
    second_temperature = _temperature_field(0.7)
    max_new_tokens = models.PositiveIntegerField(
        _("longest answer, in tokens"),
        default=512,
        validators=[MinValueValidator(1), MaxValueValidator(16_384)],
    )
    max_turns = models.PositiveSmallIntegerField(
        _("most messages of a chat"), default=20, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )

    def __str__(self) -> str:
        return f"chats of {self.project}"


class Chat(models.Model):
    """A conversation of one annotator with two policies."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="chats", db_index=False)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="chats", db_index=False
    )
    guideline = models.ForeignKey(Guideline, models.PROTECT, null=True, related_name="+", db_index=False)
    # that of its first message, for all of its prompts, whatever their own texts would give
    split = models.CharField(max_length=8, choices=Prompt.Split, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["annotator", "project", "-id"], name="chats_of_a_person")]

    def __str__(self) -> str:
        return f"chat {self.pk}"


class Turn(models.Model):
    """A message of a chat with its two answers. Its prompt holds all messages up to it.

    `waiting -> answering -> judging -> judged`. From `answering` to `same` if both answers are equal, so that there is nothing
    to choose, and to `failed`, from which it is asked again. `dropped`: by the annotator, before it was judged.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        ANSWERING = "answering"
        JUDGING = "judging"
        JUDGED = "judged"
        SAME = "same"
        FAILED = "failed"
        DROPPED = "dropped"

    OPEN_STATES = (State.WAITING, State.ANSWERING, State.JUDGING, State.FAILED)
    """A chat has at most one turn in one of them."""

    chat = models.ForeignKey(Chat, models.PROTECT, related_name="turns", db_index=False)
    # a message after the same parent as another one begins a branch
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    number = models.PositiveSmallIntegerField(help_text="1 for the first message of a conversation.")
    prompt = models.OneToOneField(Prompt, models.PROTECT, related_name="turn")
    item = models.OneToOneField(Item, models.PROTECT, null=True, related_name="turn")
    answer = models.ForeignKey(
        Response, models.PROTECT, null=True, related_name="+", db_index=False, help_text="What goes on."
    )
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    error = models.CharField(max_length=500, blank=True)
    sides = models.JSONField(default=list, help_text="What answered: author, server, temperature and seed.")
    # of the worker that answers it
    claim = models.UUIDField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    key = models.UUIDField(default=uuid.uuid4, help_text="Of the send, which counts once.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chat", "key"], name="a_message_is_sent_once"),
            models.UniqueConstraint(
                fields=["chat"],
                condition=Q(state__in=["waiting", "answering", "judging", "failed"]),
                name="one_open_turn_per_chat",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["judging", "judged"]) | Q(item__isnull=False),
                name="a_turn_to_judge_has_an_item",
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"], name="turns_to_answer", condition=Q(state__in=["waiting", "answering"])
            )
        ]

    def __str__(self) -> str:
        return f"turn {self.number} of {self.chat}"

    @property
    def text(self) -> str:
        """The message."""
        return str(self.prompt.messages[-1]["content"])

    @property
    def stream(self) -> str:
        """The name of the stream of its answers (`annotation.chat_stream`)."""
        return f"turn-{self.pk}"

    @property
    def is_over(self) -> bool:
        """Whether the conversation can go on after it."""
        return self.state in (self.State.JUDGED, self.State.SAME)
