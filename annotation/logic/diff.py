"""Differences between two texts, by lines and, within changed lines, by words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
CONTEXT = 3


@dataclass(frozen=True)
class Piece:
    """Some words of a line, and whether they changed."""

    text: str
    changed: bool


@dataclass(frozen=True)
class Line:
    """A line of a diff. `kind`: `same`, `old` (removed), `new` (added), or `gap` for `skipped` unchanged lines that are left
    out. Numbers count from 1, in the text that has the line."""

    kind: str
    pieces: tuple[Piece, ...] = ()
    old_number: int | None = None
    new_number: int | None = None
    skipped: int = 0


def lines(old: str, new: str, *, context: int = CONTEXT) -> list[Line]:
    """Changed lines with some context; empty if the texts are the same."""
    before, after = old.splitlines(), new.splitlines()
    diff: list[Line] = []
    last_old = 0
    for group in SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(context):
        if skipped := group[0][1] - last_old:
            diff.append(Line("gap", skipped=skipped))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                diff += [
                    Line("same", (Piece(before[i1 + n], False),), i1 + n + 1, j1 + n + 1)
                    for n in range(i2 - i1)
                ]
            else:
                diff += _changed(before[i1:i2], after[j1:j2], i1, j1)
            last_old = i2
    if diff and last_old < len(before):
        diff.append(Line("gap", skipped=len(before) - last_old))
    return diff


def _changed(before: list[str], after: list[str], i: int, j: int) -> Iterator[Line]:
    """A run of replaced lines: the old ones, then the new ones."""
    pairs = [words(old, new) for old, new in zip(before, after, strict=False)]
    for n, text in enumerate(before):
        yield Line("old", pairs[n][0] if n < len(pairs) else (Piece(text, True),), old_number=i + n + 1)
    for n, text in enumerate(after):
        yield Line("new", pairs[n][1] if n < len(pairs) else (Piece(text, True),), new_number=j + n + 1)


def words(old: str, new: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Two lines in pieces; if they have little in common, each is one changed piece."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    if matcher.ratio() < 0.4:
        return (Piece(old, True),), (Piece(new, True),)
    old_pieces: list[Piece] = []
    new_pieces: list[Piece] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        changed = tag != "equal"
        if i2 > i1:
            old_pieces.append(Piece("".join(before[i1:i2]), changed))
        if j2 > j1:
            new_pieces.append(Piece("".join(after[j1:j2]), changed))
    return tuple(old_pieces), tuple(new_pieces)
