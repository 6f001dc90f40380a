"""Near-duplicate answers, which are left out of items since nobody can order them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

SHINGLE = 3
NEAR = 0.95
CHUNK = 5_000
"""Characters that are normalized at once, to see how many they become."""
# punctuation and Markdown signs are ignored; an exclamation mark is punctuation after a word, elsewhere it means "not"
_SILENT = ".,;:?\"'()*#`‘’“”„«»…–—-"
_EXCLAIMED = re.compile(r"(?<=\w)!+(?!=)")


class _Spaced(dict[int, str]):
    """A table for `str.translate`: words stay, ignored signs become spaces, and any other sign, which has a meaning in code
    and formulas, becomes a word of its own."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        is_word = sign.isalnum() or sign == "_"
        made = sign if is_word else " " if sign in _SILENT or sign.isspace() else f" {sign} "
        if code < 2**16:  # the common ones; a table of all characters would take a hundred megabytes
            self[code] = made
        return made


_SPACED = _Spaced()


def distinct(texts: Sequence[str]) -> list[int]:
    """The positions of the texts that are not near-duplicates of an earlier one."""
    positions: list[int] = []
    for position, text in enumerate(texts):
        if not any(near_identical(texts[other], text) for other in positions):
            positions.append(position)
    return positions


def near_identical(first: str, second: str) -> bool:
    """Whether two texts differ only in case, spaces, punctuation and markup, or in few of many words.

    The latter means that at least 95% of their runs of three words are the same (the resemblance of Broder 1997, "On the
    resemblance and containment of documents", by Dice's coefficient), and all their numbers are: answers that differ in a
    number differ in substance.
    """
    a, b = _tokens(first), _tokens(second)
    if a == b:
        return True
    runs_a, runs_b = len(a) - SHINGLE + 1, len(b) - SHINGLE + 1
    least = NEAR * (runs_a + runs_b) / 2
    if not 0 < least <= min(runs_a, runs_b):
        return False
    may_lack = runs_a - least
    # a run that both have starts with a word that both have, and most texts have other words
    words = _words(second)
    lacking = 0
    for word in islice(a, runs_a):
        if word not in words:
            lacking += 1
            if lacking > may_lack:
                return False
    runs = _shingles(second)
    lacking = 0
    for run, count in _shingles(first).items():
        lacking += max(0, count - runs.get(run, 0))
        if lacking > may_lack:
            return False
    return _numbers(first) == _numbers(second)


# each answer is compared with all others of its prompt in turn
_for_each_text = lru_cache(maxsize=16)


def _plain(text: str) -> str:
    if text.isascii():
        return text.lower()
    if not unicodedata.is_normalized("NFKC", text):
        # one sign can become eighteen: texts of such signs are compared as they are
        room = 2 * len(text)
        for start in range(0, len(text), CHUNK):
            room -= len(unicodedata.normalize("NFKC", text[start : start + CHUNK]))
            if room < 0:
                return text.casefold()
        text = unicodedata.normalize("NFKC", text)
    return text.casefold()


@_for_each_text
def _tokens(text: str) -> list[str]:
    plain = _plain(text)
    return (_EXCLAIMED.sub(" ", plain) if "!" in plain else plain).translate(_SPACED).split()


@_for_each_text
def _words(text: str) -> set[str]:
    return set(_tokens(text))


def _numbers(text: str) -> list[str]:
    return [word for word in _tokens(text) if any(map(str.isdecimal, word))]


@_for_each_text
def _shingles(text: str) -> Counter[tuple[str, ...]]:
    tokens = _tokens(text)
    return Counter(zip(*(tokens[start:] for start in range(SHINGLE)), strict=False))
