"""Signs that cannot be seen though they change what is seen, or hide something: each is shown as a mark with its name.

Signs that languages and emoji need stay: joiners and non-joiners, marks of direction, embeddings and isolates that end in
their line, and the tags of a flag.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from itertools import islice

_C0 = (
    "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US"
).split()
_NAMES = {
    **{code: (name, "control character") for code, name in enumerate(_C0) if name not in ("HT", "LF", "CR")},
    0x7F: ("DEL", "control character"),
    0xAD: ("SHY", "soft hyphen"),
    0x115F: ("HCF", "Hangul choseong filler"),
    0x1160: ("HJF", "Hangul jungseong filler"),
    0x180E: ("MVS", "Mongolian vowel separator"),
    0x200B: ("ZWSP", "zero-width space"),
    0x202A: ("LRE", "left-to-right embedding"),
    0x202B: ("RLE", "right-to-left embedding"),
    0x202C: ("PDF", "pop directional formatting"),
    0x202D: ("LRO", "left-to-right override"),
    0x202E: ("RLO", "right-to-left override"),
    0x2060: ("WJ", "word joiner"),
    0x2061: ("FA", "function application"),
    0x2062: ("IT", "invisible times"),
    0x2063: ("IS", "invisible separator"),
    0x2064: ("IP", "invisible plus"),
    0x2066: ("LRI", "left-to-right isolate"),
    0x2067: ("RLI", "right-to-left isolate"),
    0x2068: ("FSI", "first strong isolate"),
    0x2069: ("PDI", "pop directional isolate"),
    0x3164: ("HF", "Hangul filler"),
    0xFEFF: ("BOM", "zero-width no-break space"),
    0xFFA0: ("HHF", "halfwidth Hangul filler"),
}
_RANGES = (
    *(
        (0x00, 0x08),
        (0x0B, 0x0C),
        (0x0E, 0x1F),
        (0x7F, 0x9F),
        (0xAD, 0xAD),
        (0x115F, 0x1160),
        (0x180E, 0x180E),
    ),
    *(
        (0x200B, 0x200B),
        (0x202A, 0x202E),
        (0x2060, 0x206F),
        (0x3164, 0x3164),
        (0xFDD0, 0xFDEF),
        (0xFEFF, 0xFEFF),
    ),
    *((0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB), (0xFFFE, 0xFFFF), (0xE0000, 0xE007F)),
)
_CLASS = "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in _RANGES)
_SIGN = re.compile(
    # a flag: its tags are no hidden text
    f"\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{3,6}}\U000e007f|(?P<sign>[{_CLASS}])"
)
MAX_SIGNS = 5_000
"""A text with more gets no mark for each, which would take long to make and to show."""
_DIRECTIONS = re.compile("[\n\r\u2029\u202a-\u202c\u2066-\u2069]")
_OPENED_BY = {"\u202c": "\u202a\u202b", "\u2069": "\u2066\u2067\u2068"}
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdfb\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_MAX_NESTED = 10


def name(sign: str) -> str:
    """As it is shown: `⟨RLO⟩`, `⟨TAG a⟩`, `⟨U+0085⟩`."""
    code = ord(sign)
    if 0xE0020 < code < 0xE007F:
        return f"⟨TAG {chr(code - 0xE0000)}⟩"
    return f"⟨{_NAMES[code][0] if code in _NAMES else f'U+{code:04X}'}⟩"


_BARE_NAMES = {code: name(chr(code)) for first, last in _RANGES for code in range(first, last + 1)}


def mark(sign: str) -> str:
    """HTML of the name of a sign, which no text can have."""
    title = _NAMES.get(ord(sign), ("", "a sign that cannot be seen"))[1]
    return f'<span class="invisible" title="{title}, U+{ord(sign):04X}">{escape(name(sign))}</span>'


def replace(text: str, by: Callable[[str], str]) -> str:
    """The text with something else in place of each such sign; with their bare names where there are very many."""
    # most texts have none; of ASCII, a translation tells so sooner than the expression
    if text.translate(_BARE_NAMES) == text if text.isascii() else _SIGN.search(text) is None:
        return text
    if len(list(islice(_SIGN.finditer(text), MAX_SIGNS + 1))) > MAX_SIGNS:
        return text.translate(_BARE_NAMES)
    balanced = _balanced(text)

    def of(match: re.Match[str]) -> str:
        sign = match["sign"]
        return match[0] if sign is None or match.start() in balanced else by(sign)

    return _SIGN.sub(of, text)


def is_right_to_left(text: str) -> bool:
    """Whether it has a letter of a script that is written from right to left."""
    return not text.isascii() and _RIGHT_TO_LEFT.search(text) is not None


def _balanced(text: str) -> set[int]:
    """Where embeddings and isolates are that end in their line. Those to the right need a letter that is written so: around
    others they would only put what is read into another order."""
    balanced: set[int] = set()
    opened: list[int] = []
    for match in _DIRECTIONS.finditer(text):
        sign, at = match[0], match.start()
        if sign in "\n\r\u2029":
            opened = []
        elif sign not in _OPENED_BY:
            opened.append(at)
        elif opened and text[opened[-1]] in _OPENED_BY[sign]:
            start = opened.pop()
            if len(opened) < _MAX_NESTED and (
                text[start] not in "\u202b\u2067" or _RIGHT_TO_LEFT.search(text, start, at)
            ):
                balanced |= {start, at}
    return balanced
