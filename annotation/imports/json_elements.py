"""The elements of a file that is one JSON list, one by one: memory holds one of them, however many there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

CHUNK = 2**16
_GAP = re.compile(r"[ \t\n\r]*")
_decoded = json.JSONDecoder().raw_decode


class ListError(ValueError):
    """Why the list cannot be read any further, in a sentence."""


def elements(file: IO[str], *, longest: int) -> Iterator[tuple[Any, str]]:
    """Each element as a value and as it is written, of at most `longest` characters.

    Raises:
        ListError: it is no list, or cannot be read any further.
    """
    window = _Window(file, longest)
    if window.take() != "[":
        raise ListError("It is no JSON list.")
    number = 0
    mark = "," if window.next() != "]" else window.take()
    while mark == ",":
        number += 1
        try:
            yield window.value()
        except ValueError as error:
            raise ListError(f"Element {number} cannot be read: {getattr(error, 'msg', error)}.") from None
        except RecursionError:
            raise ListError(f"Element {number} cannot be read: it is nested too deeply.") from None
        mark = window.take()
    if not mark:
        raise ListError(f"The list has no end: it was cut off after element {number:,}.")
    if mark != "]":
        raise ListError(f"After element {number:,} stands neither a comma nor the end of the list.")
    if window.next():
        raise ListError("Something stands after the end of the list.")


class _Window:
    """What of the file is in memory, from `at` on not yet taken."""

    def __init__(self, file: IO[str], longest: int) -> None:
        self.file, self.longest = file, longest
        self.text, self.at = "", 0

    def more(self) -> bool:
        """Whether there was more to read. It reads as much again as there is, so that beginning anew costs little."""
        self.text, self.at = self.text[self.at :], 0
        added = self.file.read(max(CHUNK, min(len(self.text), self.longest - len(self.text))))
        self.text += added
        return bool(added)

    def next(self) -> str:
        """The next character that is not white space; nothing at the end."""
        while True:
            gap = _GAP.match(self.text, self.at)
            assert gap is not None
            self.at = gap.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self) -> str:
        mark = self.next()
        self.at += len(mark)
        return mark

    def value(self) -> tuple[Any, str]:
        """
        Raises:
            ValueError, RecursionError: here stands none, or one that is too long.
        """
        self.next()
        while True:
            try:
                value, end = _decoded(self.text, self.at)
            except ValueError:
                # it may be that only the end is missing
                if len(self.text) - self.at > self.longest:
                    raise ValueError(f"no end within {self.longest // 2**20} million characters") from None
                if not self.more():
                    raise
            else:
                written = self.text[self.at : end]
                if end < len(self.text) or not self.more():
                    self.at += len(written)
                    return value, written
