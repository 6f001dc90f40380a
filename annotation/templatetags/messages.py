"""What a message offers beside its text."""

from __future__ import annotations

from typing import NamedTuple

from django import template
from django.contrib.messages.storage.base import Message

register = template.Library()


class Undo(NamedTuple):
    """Where a form posts a token to take back what its message reports."""

    address: str
    token: str


@register.filter
def undo_of(message: Message) -> Undo | None:
    tags = (message.extra_tags or "").split()
    return Undo(tags[1], tags[2]) if len(tags) == 3 and tags[0] == "undo" else None
