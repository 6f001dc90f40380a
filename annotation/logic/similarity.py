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
    if [t for t in a if _NUMBER.search(t)] != [t for t in b if _NUMBER.search(t)]:
        return False
    runs_a, runs_b = _shingles(a), _shingles(b)
    together = runs_a.total() + runs_b.total()
    return together > 0 and 2 * (runs_a & runs_b).total() >= NEAR * together


# each answer is compared with the other ones of its prompt, one after the other
@lru_cache(maxsize=16)
def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def _shingles(tokens: list[str]) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(SHINGLE)), strict=False))
