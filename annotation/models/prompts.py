"""Prompts, responses, and the authors of responses."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.functional import cached_property

from annotation.logic.erased_text import ERASED
from annotation.logic.markdown import render
from annotation.models.projects import Project


class Author(models.Model):
    """The author of a response. A model version in `training` points here, so that `annotation` does not depend on it."""

    class Kind(models.TextChoices):
        POLICY = "policy"
        IMPORTED = "imported"
        PERSON = "person"

    project = models.ForeignKey(Project, models.PROTECT, related_name="authors", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(max_length=200)
    # the annotator who wrote these responses, who never gets them to rank
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="authors"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "kind", "name"], name="one_author_per_name")
        ]

    def __str__(self) -> str:
        return self.name


@models.JSONField.register_lookup
class AnyMessageContains(models.Lookup[Any]):
    """Whether one of the messages contains a text, ignoring case."""

    lookup_name = "any_message_contains"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        messages, values = self.process_lhs(compiler, connection)
        matches = f"SELECT FROM jsonb_array_elements({messages}) AS m WHERE strpos(lower(m ->> 'content'), lower(%s)) > 0"
        return f"EXISTS ({matches})", (*values, self.rhs)


@models.JSONField.register_lookup
class HasEntry(models.Lookup[Any]):
    """Whether an object has an entry, given as `name=value`; numbers and booleans are compared as JSON writes them."""

    lookup_name = "has_entry"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        value, values = self.process_lhs(compiler, connection)
        name, _, text = str(self.rhs).partition("=")
        return f"({value} ->> %s) = %s", (*values, name.strip(), text.strip())


class PromptQuerySet(models.QuerySet["Prompt"]):
    def to_learn_from(self) -> PromptQuerySet:
        """Those that models answer and learn from: of live chats without messages that were taken back or not judged yet, and
        without those that were erased."""
        return self.without_erased().filter(
            models.Q(turn=None) | models.Q(turn__state__in=("judged", "same"))
        )

    def without_erased(self) -> PromptQuerySet:
        """Without messages of chats whose author erased their account."""
        return self.exclude(turn__isnull=False, **{"messages__-1__content": ERASED})


class Prompt(models.Model):
    """A conversation whose next message is to be written: the responses are the candidates."""

    class Split(models.TextChoices):
        TRAIN = "train"
        HELD_OUT = "held_out"

    project = models.ForeignKey(Project, models.PROTECT, related_name="prompts", db_index=False)
    external_id = models.CharField(max_length=200)
    messages = models.JSONField(help_text="[{role, content}, …], the last one the user's.")
    tags = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True, help_text="An object of the user's own.")
    # fixed by a hash of the messages: the same prompt is held out in every project and every round
    split = models.CharField(max_length=8, choices=Split, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PromptQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "external_id"], name="prompt_ids_are_unique")
        ]
        indexes = [models.Index(fields=["project", "split", "id"], name="prompts_by_split")]

    def __str__(self) -> str:
        return str(self.messages[-1]["content"])[:80]

    @cached_property
    def turns(self) -> list[dict[str, str]]:
        """The messages as HTML, `[{role, html}, …]`."""
        return [{"role": m["role"], "html": render(m["content"])} for m in self.messages]


class Response(models.Model):
    """One answer to a prompt. Append-only."""

    prompt = models.ForeignKey(Prompt, models.PROTECT, related_name="responses", db_index=False)
    author = models.ForeignKey(Author, models.PROTECT, related_name="responses")
    text = models.TextField()
    digest = models.CharField(max_length=64, editable=False, help_text="SHA-256 of the text.")
    sampling = models.JSONField(
        default=dict, help_text="Temperature, seed and token ids, where they are known."
    )
    metadata = models.JSONField(default=dict, help_text="An object of the user's own.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["prompt", "author", "digest"], name="one_response_per_text_and_author"
            )
        ]

    def __str__(self) -> str:
        return self.text[:80]

    @property
    def html(self) -> str:
        return render(self.text)
