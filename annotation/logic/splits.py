"""Choices that must come out the same everywhere and every time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

HELD_OUT_SHARE = 0.15


def digest(text: str) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def prompt_digest(messages: Sequence[dict[str, Any]]) -> str:
    return digest(json.dumps([[m["role"], m["content"]] for m in messages], ensure_ascii=False))


def split_of(messages: Sequence[dict[str, Any]]) -> str:
    """`train` or `held_out`, by nothing but the messages: a prompt never moves from one to the other."""
    return "held_out" if int(prompt_digest(messages)[:8], 16) / 2**32 < HELD_OUT_SHARE else "train"
