"""The split of a prompt into training or held-out, by a hash of its messages."""

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
    """SHA-256 of the roles and contents of a prompt's messages."""
    return digest(json.dumps([[m["role"], m["content"]] for m in messages], ensure_ascii=False))


def split_of(messages: Sequence[dict[str, Any]]) -> str:
    """`train` or `held_out`, by the messages alone, so that a prompt never moves from one to the other."""
    return "held_out" if int(prompt_digest(messages)[:8], 16) / 2**32 < HELD_OUT_SHARE else "train"
