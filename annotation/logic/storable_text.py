"""Texts that PostgreSQL cannot store, which JSON and forms can bring in."""

from __future__ import annotations

import re

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def storage_problem(text: str) -> str:
    """Why PostgreSQL cannot store a text, as the end of a sentence that begins with its name; empty where it can."""
    if "\0" in text:
        return "holds a null byte"
    if _LONE_SURROGATE.search(text):
        return "holds half of a character (a lone surrogate, \\ud800 to \\udfff)"
    return ""
