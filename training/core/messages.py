"""Conversations as lists of messages: reading them, their turns, and what is put into them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]
"""`role` and `content`, a text; of an assistant perhaps `tool_calls`, of a tool perhaps `tool_call_id` and `name`."""

ROLES = ("system", "user", "assistant", "tool")


def parse_messages(value: object, name: str) -> list[Message]:
    """The messages in the entry `name` of a row, with what chat templates read of them. Raises ValueError, which says what is
    wrong, for anything else."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"'{name}' must be a list of at least one message")
    return [_message(message, name) for message in value]


def _message(message: object, name: str) -> Message:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise ValueError(f"every message of '{name}' needs a role of {', '.join(ROLES)}")
    role, calls = message["role"], message.get("tool_calls")
    content = "" if calls and message.get("content") is None else message.get("content")
    if not isinstance(content, str):
        raise ValueError(f"every message of '{name}' needs a text as its content")
    if calls and role != "assistant":
        raise ValueError(f"only the assistant's messages of '{name}' have 'tool_calls'")
    if calls and not (isinstance(calls, list) and all(map(_is_tool_call, calls))):
        raise ValueError("'tool_calls' must be a list of objects with a 'function' that has a 'name'")
    parsed = {"role": role, "content": content} | ({"tool_calls": calls} if calls else {})
    for key in ("tool_call_id", "name") if role == "tool" else ():
        text = message.get(key)
        if text is not None and not isinstance(text, str):
            raise ValueError(f"'{key}' of a tool's message must be a text")
        parsed |= {key: text} if text else {}
    return parsed


def _is_tool_call(call: object) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def without_oldest_turn(messages: Sequence[Message]) -> list[Message] | None:
    """The messages without their oldest turn, a user's message and the replies up to the next one; None if only the last turn is
    left. System messages stay."""
    users = [place for place, message in enumerate(messages) if message["role"] == "user"]
    first = next((place for place, message in enumerate(messages) if message["role"] != "system"), 0)
    following = next((place for place in users if place > first), None)
    if following is None:
        return None
    return [
        message for place, message in enumerate(messages) if place >= following or message["role"] == "system"
    ]


def tool_texts(messages: Sequence[Message]) -> list[str]:
    """What a chat template must show of tools: the names of the functions called, and the longest run of ASCII letters and digits
    of each result, which is the same however the template escapes texts."""
    called = [call["function"]["name"] for message in messages for call in message.get("tool_calls", [])]
    results = [message["content"] for message in messages if message["role"] == "tool"]
    return called + [max(re.findall("[A-Za-z0-9]+", text), key=len, default="") for text in results]


def with_instruction(messages: list[Message], instruction: str) -> list[Message]:
    """The messages, with the instruction as a line before the last message of the user; without one, before the last message."""
    if not instruction:
        return messages
    places = [place for place, message in enumerate(messages) if message["role"] == "user"]
    place = places[-1] if places else len(messages) - 1
    changed = messages[place] | {"content": f"{instruction}\n{messages[place]['content']}"}
    return [*messages[:place], changed, *messages[place + 1 :]]
