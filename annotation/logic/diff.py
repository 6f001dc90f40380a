"""What changed between two texts: line by line, and word by word within the lines that changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
CONTEXT = 3


@dataclass(frozen=True)
class Piece:
    """Some words of a line, and whether they are what changed in it."""

    text: str
    changed: bool


@dataclass(frozen=True)
class Line:
    """`kind`: `same`, `old` (it went), `new` (it came), or `gap` for lines that did not change and are left out, of which
    there are `skipped`. Numbers count from 1, in the text that has the line."""

    kind: str
    pieces: tuple[Piece, ...] = ()
    old_number: int | None = None
    new_number: int | None = None
    skipped: int = 0


def lines(old: str, new: str, *, context: int = CONTEXT) -> list[Line]:
    """Every line that changed, with some around it; empty where the texts are the same."""
    before, after = old.splitlines(), new.splitlines()
    found: list[Line] = []
    last_old = 0
    for group in SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(context):
        if skipped := group[0][1] - last_old:
            found.append(Line("gap", skipped=skipped))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                found += [
                    Line("same", (Piece(before[i1 + n], False),), i1 + n + 1, j1 + n + 1)
                    for n in range(i2 - i1)
                ]
            else:
                found += _changed(before[i1:i2], after[j1:j2], i1, j1)
            last_old = i2
    if found and last_old < len(before):
        found.append(Line("gap", skipped=len(before) - last_old))
    return found


def _changed(before: list[str], after: list[str], i: int, j: int) -> Iterator[Line]:
    """A run of lines that became another one: the old ones, then the new ones."""
    pairs = [words(one, other) for one, other in zip(before, after, strict=False)]
    for n, text in enumerate(before):
        yield Line("old", pairs[n][0] if n < len(pairs) else (Piece(text, True),), old_number=i + n + 1)
    for n, text in enumerate(after):
        yield Line("new", pairs[n][1] if n < len(pairs) else (Piece(text, True),), new_number=j + n + 1)


def words(old: str, new: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Two lines in pieces; where they have little in common, each is one changed piece."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    if matcher.ratio() < 0.4:
        return (Piece(old, True),), (Piece(new, True),)
    one: list[Piece] = []
    other: list[Piece] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        changed = tag != "equal"
        if i2 > i1:
            one.append(Piece("".join(before[i1:i2]), changed))
        if j2 > j1:
            other.append(Piece("".join(after[j1:j2]), changed))
    return tuple(one), tuple(other)
