"""Formulas in Markdown: found before the Markdown is read, which would take their backslashes, underscores and stars for its own.

`$…$`, `$$…$$`, `\\(…\\)`, `\\[…\\]` and environments such as `\\begin{align}…\\end{align}`. Prices, shell variables and
code are none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

STAND_IN = "\ufdd1"
"""Of a formula: its number between two of these noncharacters."""

_NAMES = (
    "equation|align|aligned|alignat|alignedat|gather|gathered|multline|split|eqnarray|cases|rcases|dcases|drcases|array"
    "|matrix|pmatrix|bmatrix|Bmatrix|vmatrix|Vmatrix|smallmatrix|CD"
)
_SIGN = re.compile(r"[\\$]")
_BLANK_LINE = r"\n[ \t]*\n"
# Each alternative reads no further than to the next sign that could begin or end a formula of its kind, so that a text is
# read once, whatever it has that is not closed.
_START = re.compile(
    rf"""
    \\begin\{{(?P<environment>(?:{_NAMES})\*?)\}}
    | (?<!\\) (?P<parens> \\\( (?:[^\\] | \\[^()])++ \\\) )
    | (?<!\\) (?P<brackets> \\\[ (?:[^\\] | \\[^\[\]])++ \\\] (?!\() )
    | \\. | \\\n
    | \$\$\$++
    | (?P<dollars> \$\$ (?:[^$\\] | \\. | \\\n | \$(?!\$))++ \$\$ (?!\$) )
    | \$\$
    | (?<![0-9A-Za-z]) (?P<dollar> \$ (?![\s$]) (?:[^$\\\n] | \\. | \n(?![ \t]*+\n))++ (?<![\s/:(&"]) \$ (?!\$)
        (?: (?![0-9A-Za-z_{{]) | (?=(?:th|st|nd|rd|s)\b) ) )
    """,
    re.VERBOSE,
)
_FENCE = re.compile(
    r"(?m)^[ \t>]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t>]++)*+(?P<fence>`{3,}+(?=[^`\n]*+$)|~{3,}+).*$"
)
_FENCE_END = re.compile(r"(?m)^[ \t>]*+(`{3,}+|~{3,}+)[ \t]*+$")
_TICKS = re.compile(r"(?<!\\)`+|\\`(`*)")
_QUOTE = re.compile(r"[ ]{0,3}(?:>[ ]?)+")
# what begins with a number and has a word is the price of something: "5 (or 4", "3, which is 1"
_PRICE = re.compile(r"\d(?:[^\\{}^_=]*\s[^\W\d_]{2,}(?=[\s,.]|\Z)|[^()]*\([^)]*\Z)")
_MARKUP, _DIGIT, _WORD = re.compile(r"[\\{}^_=]"), re.compile(r"\d"), re.compile(r"[^\W\d_]{3}")


def extract(text: str) -> tuple[str, list[str]]:
    """The text with a stand-in for each formula, and the formulas as they were written, with their delimiters."""
    if "$" not in text and not re.search(r"\\[(\[]|\\begin\{", text):
        return text, []
    formulas: list[str] = []
    parts: list[str] = []
    end = 0
    for start, stop in _find(text):
        formula = _unquoted(text, start, stop)
        if formula is None:
            continue
        parts += text[end:start], f"{STAND_IN}{len(formulas)}{STAND_IN}"
        formulas.append(formula)
        end = stop
    return "".join((*parts, text[end:])), formulas


def is_display(formula: str) -> bool:
    """Whether a formula stands on lines of its own."""
    return formula.startswith(("$$", "\\[", "\\begin"))


def _find(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for code_start, code_end in (*_code(text), (len(text), len(text))):
        yield from _find_outside_code(text, start, code_start)
        start = code_end


def _find_outside_code(text: str, at: int, stop: int) -> Iterator[tuple[int, int]]:
    without_end: set[str] = set()
    while sign := _SIGN.search(text, at, stop):
        match = _START.match(text, sign.start(), stop)
        if match is None:
            at = sign.end()
            continue
        kind, start, at = match.lastgroup, match.start(), match.end()
        if kind == "environment":
            name = match["environment"]
            end = -1 if name in without_end else _environment_end(text, name, at, stop)
            if end < 0:
                without_end.add(name)
                continue
            at = end
        elif kind == "dollars":
            is_text = re.search(_BLANK_LINE, match[0]) or _is_shell(text, start + 2, at - 2)
            if is_text and not _is_block(text, start, at):
                at = start + 2
                continue
        elif kind == "dollar":
            if _PRICE.match(text, start + 1, at - 1):
                at = start + 1
                continue
        elif kind is None:
            continue
        if match[0].strip("$()[]\\ \t\n"):
            yield start, at


def _is_shell(text: str, start: int, stop: int) -> bool:
    """Whether it is the text between two process ids of a shell, as in "$$ > pid; kill $$"."""
    if _MARKUP.search(text, start, stop):
        return False
    digit = _DIGIT.search(text, start, stop)
    return _WORD.search(text, start, digit.start() if digit else stop) is not None


def _environment_end(text: str, name: str, at: int, stop: int) -> int:
    """Where the environment's `\\end` ends, past those of others of its name within it; -1 if nowhere."""
    begin, end = f"\\begin{{{name}}}", f"\\end{{{name}}}"
    searched = at
    for _ in range(10):
        found = text.find(end, searched, stop)
        if found < 0:
            return -1
        searched = found + len(end)
        at = text.find(begin, at, found)
        if at < 0:
            return searched
        at += len(begin)
    return -1


def _is_block(text: str, start: int, end: int) -> bool:
    """Whether nothing else is on the lines where it begins and ends."""
    before = text[text.rfind("\n", 0, start) + 1 : start]
    after = text[end : text.find("\n", end) % (len(text) + 1)]
    return not before.strip(" \t>") and not after.strip()


def _unquoted(text: str, start: int, stop: int) -> str | None:
    """A formula in a block quote without the signs of the quote; None if it begins within the quote and ends outside."""
    formula = text[start:stop]
    quote = _QUOTE.match(text, text.rfind("\n", 0, start) + 1)
    if "\n" not in formula or not quote:
        return formula
    first, *rest = formula.split("\n")
    quotes = [_QUOTE.match(line) for line in rest]
    level = quote[0].count(">")
    if not all(match and match[0].count(">") >= level for match in quotes):
        return None
    return "\n".join(
        (first, *(line[match.end() :] for line, match in zip(rest, quotes, strict=True) if match))
    )


def _code(text: str) -> Iterator[tuple[int, int]]:
    """Where there is code: fenced blocks, and spans between as many backticks. It need not be exact: a stand-in that is in code
    after all becomes the source again."""
    at = 0
    has_fences = "```" in text or "~~~" in text
    while has_fences and (fence := _FENCE.search(text, at)):
        yield from _spans(text, at, fence.start())
        sign = fence["fence"]
        at = fence.end()
        while (end := _FENCE_END.search(text, at)) and not end[1].startswith(sign):
            at = end.end()
        at = end.end() if end else len(text)
        yield fence.start(), at
    yield from _spans(text, at, len(text))


def _spans(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    runs = [
        (match.start(1), match.end(1)) if match[1] else match.span()
        for match in _TICKS.finditer(text, start, stop)
        if match[0] != "\\`"
    ]
    by_length: dict[int, list[int]] = defaultdict(list)  # starts, the last one first
    for first, end in reversed(runs):
        by_length[end - first].append(first)
    at = start
    for first, end in runs:
        if first < at:
            continue
        same = by_length[end - first]
        while same and same[-1] <= first:
            same.pop()
        if same and not re.search(_BLANK_LINE, text[end : same[-1]]):
            at = same[-1] + end - first
            yield first, at
