"""Messages between an annotator and the reviewers about an item."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from annotation.models.queue import Item


class Message(models.Model):
    """A message about an item, between one annotator and the project's reviewers and leads. Append-only.

    A thread is all messages of one item and one annotator: what others write about the same item is in other threads.
    """

    item = models.ForeignKey(Item, models.PROTECT, related_name="thread_messages", db_index=False)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="threads", help_text="Whose thread it is."
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False, help_text="Who wrote it."
    )
    text = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=["item", "annotator", "id"], name="messages_of_a_thread"),
            models.Index(fields=["author", "created_at"], name="messages_of_an_author"),
        ]

    def __str__(self) -> str:
        return f"message {self.pk} about item {self.item_id}"
