"""Differences between two texts, by lines and, within changed lines, by words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import Match, SequenceMatcher
from itertools import islice

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
CONTEXT = 3
MAX_PAIRS = 50_000
"""Of an old and a new line that are compared, beyond what both texts begin and end with; and of an old and a new word, in all
lines together. What is beyond is shown as one change: finding what it has in common takes at least the square of its length."""

MAX_LINES = 500
"""Of a change, whose words are compared."""


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
    budget = _Budget()
    for group in _matcher(before, after, _Budget()).get_grouped_opcodes(context):
        if skipped := group[0][1] - last_old:
            diff.append(Line("gap", skipped=skipped))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                diff += [
                    Line("same", (Piece(before[i1 + n], False),), i1 + n + 1, j1 + n + 1)
                    for n in range(i2 - i1)
                ]
            else:
                diff += _changed(before[i1:i2], after[j1:j2], i1, j1, budget)
            last_old = i2
    if diff and last_old < len(before):
        diff.append(Line("gap", skipped=len(before) - last_old))
    return diff


@dataclass
class _Budget:
    """How many pairs may still be compared."""

    pairs: int = MAX_PAIRS

    def take(self, pairs: int) -> bool:
        if pairs > self.pairs:
            return False
        self.pairs -= pairs
        return True


def _matcher(before: list[str], after: list[str], budget: _Budget) -> SequenceMatcher[str]:
    """A matcher that knows what both begin and end with, and compares what is between."""
    shorter = min(len(before), len(after))
    head = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    rest = shorter - head
    tail = next((n for n in range(rest) if before[-1 - n] != after[-1 - n]), rest)
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    between = []
    if budget.take(len(old) * len(new)):
        between = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()[:-1]
    blocks = [(0, 0, head), *((head + a, head + b, size) for a, b, size in between)]
    blocks += [(len(before) - tail, len(after) - tail, tail), (len(before), len(after), 0)]
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    # what `get_matching_blocks` would compute and keep
    matcher.matching_blocks = [Match(*block) for block in _joined(blocks)]  # type: ignore[attr-defined]
    return matcher


def _joined(blocks: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """The blocks in order, with neighbours made one and empty ones left out, but for the last, which ends the list."""
    *blocks, end = blocks
    a = b = size = 0
    for next_a, next_b, next_size in blocks:
        if (a + size, b + size) == (next_a, next_b):
            size += next_size
        else:
            if size:
                yield a, b, size
            a, b, size = next_a, next_b, next_size
    if size:
        yield a, b, size
    yield end


def _changed(before: list[str], after: list[str], i: int, j: int, budget: _Budget) -> Iterator[Line]:
    """A run of replaced lines: the old ones, then the new ones."""
    compared = islice(zip(before, after, strict=False), MAX_LINES)
    pairs = [words(old, new, budget) for old, new in compared]
    for n, text in enumerate(before):
        yield Line("old", pairs[n][0] if n < len(pairs) else (Piece(text, True),), old_number=i + n + 1)
    for n, text in enumerate(after):
        yield Line("new", pairs[n][1] if n < len(pairs) else (Piece(text, True),), new_number=j + n + 1)


def words(old: str, new: str, budget: _Budget | None = None) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Two lines in pieces; if they have little in common, each is one changed piece."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    matcher = _matcher(before, after, budget or _Budget())
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
