"""Answers that say nearly the same: nobody can order them, so they are held back before they become an item."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

SHINGLE = 3
NEAR = 0.95
# words, and the signs that carry meaning in code and formulas; not punctuation, nor what Markdown is made with
_TOKEN = re.compile(r"\w+|(?<!\w)!|[^\w\s!.,;:?\"'()*_#`‘’“”„«»…–—-]")
_NUMBER = re.compile(r"\b\w*\d\w*")


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
    # upper bounds of what is the same first, since most texts need no closer look: a run has at most three words that
    # the other text lacks
    lacking = max(len(_words(first) - _words(second)) / SHINGLE, runs_a - runs_b)
    if runs_a - lacking < least or runs_b < least or _numbers(first) != _numbers(second):
        return False
    ours, theirs = _shingles(first), _shingles(second)
    if runs_a - len(ours.keys() - theirs.keys()) < least:
        return False
    return (ours & theirs).total() >= least


# each answer is compared with the other ones of its prompt, one after the other
_for_each_text = lru_cache(maxsize=16)


@_for_each_text
def _plain(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


@_for_each_text
def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(_plain(text))


@_for_each_text
def _words(text: str) -> frozenset[str]:
    return frozenset(_tokens(text))


@_for_each_text
def _numbers(text: str) -> list[str]:
    return _NUMBER.findall(_plain(text))


@_for_each_text
def _shingles(text: str) -> Counter[tuple[str, ...]]:
    tokens = _tokens(text)
    return Counter(zip(*(tokens[start:] for start in range(SHINGLE)), strict=False))
