"""The messages of somebody whose account was erased: a mark stands in place of what they wrote in live chats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ERASED = "[erased]"


def erase_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conversation without the user's texts."""
    return [
        {**message, "content": ERASED} if message["role"] == "user" else dict(message) for message in messages
    ]


def is_erased(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the conversation's last message was erased: nothing can be learned from answers to it."""
    return bool(messages) and messages[-1].get("content") == ERASED
