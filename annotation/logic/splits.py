"""The split of a prompt into training or held-out, by a hash of what its conversation begins with."""

from __future__ import annotations

import hashlib
import json
import unicodedata
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
    """`train` or `held_out`, by the first message of the user alone: prompts that differ in case, blanks or the form of their
    characters, and longer conversations with the same beginning, are on the same side, in every project and round."""
    first = next((m["content"] for m in messages if m["role"] == "user"), "")
    text = " ".join(unicodedata.normalize("NFKC", first).casefold().split())
    return "held_out" if int(digest(text)[:8], 16) / 2**32 < HELD_OUT_SHARE else "train"
