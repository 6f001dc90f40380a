"""The direction of lists, quotes and tables, by the first letter in each: their markers, bars and columns stand on that side.

`dir="auto"` would not do: a browser leaves out of it what has a `dir` of its own, so a quote of a list would have none.
"""

from __future__ import annotations

import re
import unicodedata
from html import unescape

from annotation.logic.invisible import is_right_to_left

_PART = re.compile(r"<(/?)(blockquote|ol|table|ul)\b|<[^>]*>|[^<]+")
_SIDES = {"L": "ltr", "R": "rtl", "AL": "rtl"}


def set_directions(html: str) -> str:
    """The HTML with a `dir` for each list, quote and table; unchanged where nothing is written from right to left."""
    if not is_right_to_left(html):
        return html
    directions: dict[int, str] = {}
    ends: list[int] = []  # of the opening tags of blocks, `<ul`
    undecided: list[int] = []  # those that are open and have no letter yet
    for part in _PART.finditer(html):
        if part[2] and not part[1]:
            ends.append(part.end())
            undecided.append(part.end())
        elif part[2] and undecided:
            undecided.pop()
        elif undecided and part[0][0] != "<" and (direction := _first_direction(unescape(part[0]))):
            directions |= dict.fromkeys(undecided, direction)
            undecided = []
    pieces: list[str] = []
    at = 0
    for end in ends:
        pieces += html[at:end], f' dir="{directions.get(end, "auto")}"'
        at = end
    return "".join((*pieces, html[at:]))


def _first_direction(text: str) -> str | None:
    sides = (_SIDES.get(unicodedata.bidirectional(letter)) for letter in text)
    return next(filter(None, sides), None)
