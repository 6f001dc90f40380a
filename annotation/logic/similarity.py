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
_NUMBER = re.compile(r"\d")


def near_identical(first: str, second: str) -> bool:
    """Whether two texts differ in nothing but case, blanks, punctuation and markup, or in few words of many.

    The latter where at least 95% of their runs of three words are the same (the resemblance of Broder 1997, "On the
    resemblance and containment of documents", by Dice's coefficient), and every number is: answers that
    differ in a number differ in what matters.
    """
    a, b = _tokens(first), _tokens(second)
    if a == b:
        return True
    # an upper bound first: most texts differ in length, and need no look inside
    size = len(a) + len(b)
    if 2 * min(len(a), len(b)) < NEAR * size - 2 * SHINGLE:
        return False
    if _numbers(first) != _numbers(second):
        return False
    runs_a, runs_b = _shingles(first), _shingles(second)
    together = runs_a.total() + runs_b.total()
    return together > 0 and 2 * (runs_a & runs_b).total() >= NEAR * together


# each answer is compared with the other ones of its prompt, one after the other
_for_each_text = lru_cache(maxsize=16)


@_for_each_text
def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


@_for_each_text
def _numbers(text: str) -> list[str]:
    return [token for token in _tokens(text) if not token.isalpha() and _NUMBER.search(token)]


@_for_each_text
def _shingles(text: str) -> Counter[tuple[str, ...]]:
    tokens = _tokens(text)
    return Counter(zip(*(tokens[start:] for start in range(SHINGLE)), strict=False))
