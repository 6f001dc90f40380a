"""Answers that say nearly the same: nobody can order them, so they are held back before they become an item."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

SHINGLE = 3
NEAR = 0.95
# punctuation, and what Markdown is made with, say nothing; after a word an exclamation mark is punctuation, elsewhere "not"
_SILENT = ".,;:?\"'()*#`‘’“”„«»…–—-"
_EXCLAIMED = re.compile(r"(?<=\w)!+(?!=)")


class _Spaced(dict[int, str]):
    """For `str.translate`: words remain, what is silent is a blank, and any other sign, which carries meaning in code and
    formulas, stands by itself."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        is_word = sign.isalnum() or sign == "_"
        made = sign if is_word else " " if sign in _SILENT or sign.isspace() else f" {sign} "
        if code < 2**16:  # as many as are met often; all that there are would fill a hundred megabytes
            self[code] = made
        return made


_SPACED = _Spaced()


def apart(texts: Sequence[str]) -> list[int]:
    """The positions of the texts that say something else than every one before them."""
    found: list[int] = []
    for position, text in enumerate(texts):
        if not any(near_identical(texts[other], text) for other in found):
            found.append(position)
    return found


def near_identical(first: str, second: str) -> bool:
    """Whether two texts differ in nothing but case, blanks, punctuation and markup, or in few words of many.

    The latter where at least 95% of their runs of three words are the same (the resemblance of Broder 1997, "On the
    resemblance and containment of documents", by Dice's coefficient), and every number is: answers that
    differ in a number differ in what matters.
    """
    a, b = _tokens(first), _tokens(second)
    if a == b:
        return True
    runs_a, runs_b = len(a) - SHINGLE + 1, len(b) - SHINGLE + 1
    if min(runs_a, runs_b) < 1:
        return False
    least = NEAR * (runs_a + runs_b) / 2
    # upper bounds of what is the same first, since most texts need no closer look: every run that both have begins with a
    # word that both have
    if len(a) - len(_words(first).keys() - _words(second).keys()) < least or min(runs_a, runs_b) < least:
        return False
    if (_words(first) & _words(second)).total() < least or _numbers(first) != _numbers(second):
        return False
    return (_shingles(first) & _shingles(second)).total() >= least


# each answer is compared with the other ones of its prompt, one after the other
_for_each_text = lru_cache(maxsize=16)


def _plain(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


@_for_each_text
def _tokens(text: str) -> list[str]:
    plain = _plain(text)
    return (_EXCLAIMED.sub(" ", plain) if "!" in plain else plain).translate(_SPACED).split()


@_for_each_text
def _words(text: str) -> Counter[str]:
    return Counter(_tokens(text))


def _numbers(text: str) -> list[str]:
    return [word for word in _tokens(text) if any(map(str.isdecimal, word))]


@_for_each_text
def _shingles(text: str) -> Counter[tuple[str, ...]]:
    tokens = _tokens(text)
    return Counter(zip(*(tokens[start:] for start in range(SHINGLE)), strict=False))
