"""A search for words and "phrases in quotes": all of them, in any order and case, as parts of words too; and what a page shows
of a text that has them."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_CHARS = 200
MAX_TERMS = 8
BEFORE, AFTER = 80, 220
"""Characters of a snippet before and after its first match."""
_TERM = re.compile(r'"([^"]+)"|(\S+)')


@dataclass(frozen=True)
class Part:
    """A part of a snippet, and whether it is one of the words that were searched for."""

    text: str
    is_match: bool


def read_terms(text: str) -> list[str]:
    """The words and phrases of a search, each once, in their order."""
    found = (match[1] or match[2].strip('"') for match in _TERM.finditer(text.replace("\0", "")[:MAX_CHARS]))
    return list(dict.fromkeys(" ".join(term.split()) for term in found if term.strip()))[:MAX_TERMS]


def snippet(text: str, terms: list[str]) -> list[Part]:
    """The text around its first match, on one line; an ellipsis where it is cut."""
    pattern = re.compile("|".join(map(re.escape, sorted(terms, key=len, reverse=True))), re.IGNORECASE)
    text = " ".join(text.split())
    first = pattern.search(text)
    at = first.start() if first else 0
    start = _word_start(text, at - BEFORE) if at > BEFORE else 0
    end = len(text) if len(text) - at <= AFTER else text.rfind(" ", at + 1, at + AFTER) % (at + AFTER + 1)
    shown = text[start:end]
    parts = [Part("…", False)] if start else []
    done = 0
    for match in pattern.finditer(shown):
        parts += [Part(shown[done : match.start()], False), Part(match[0], True)]
        done = match.end()
    parts += [Part(shown[done:], False), Part("…" if end < len(text) else "", False)]
    return [part for part in parts if part.text]


def _word_start(text: str, at: int) -> int:
    """Where the next word begins, or the place itself where there is none near."""
    space = text.find(" ", at, at + BEFORE)
    return at if space < 0 else space + 1
