"""A language made of English with other letters, in which a text that is not translated stands out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

import pytest
from django.utils import translation

from annotation.views.judging import frames

PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
OTHER = "äƀčđëƒğħïĵķľɱňöƥɋřšťüṽŵẋÿžÄɃČĐËƑĞĦÏĴĶĽṀŇÖƤɊŘŠŤÜṼŴẊŸŽ"
LETTERS = str.maketrans(PLAIN, OTHER)
# placeholders, tags and entities, and what a page shows as it is typed
KEPT = re.compile(r"(%\(\w+\)[a-z]|%[a-z%]|\{\w*\}|<[^>]*>|&\w+;|\\.)")
WORD = re.compile(r"[A-Za-z][A-Za-z’']+")


def pseudo(text: str) -> str:
    """The text with other letters."""
    return "".join(
        part if number % 2 else part.translate(LETTERS) for number, part in enumerate(KEPT.split(str(text)))
    )


@contextmanager
def pseudo_language() -> Iterator[None]:
    """Every text that goes through Django's translations has other letters meanwhile."""
    real = translation._trans
    translation.gettext("")  # fills in `real`
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "_frames", {})  # those of English, and afterwards these
        patch.setattr(real, "gettext", lambda text: pseudo(text), raising=False)
        patch.setattr(real, "pgettext", lambda _context, text: pseudo(text), raising=False)
        patch.setattr(real, "ngettext", lambda one, many, n: pseudo(one if n == 1 else many), raising=False)
        patch.setattr(
            real,
            "npgettext",
            lambda _context, one, many, n: pseudo(one if n == 1 else many),
            raising=False,
        )
        yield


class _Texts(HTMLParser):
    """The texts that a page shows or reads out, without code and what users wrote (`.prose`, and `dir="auto"`)."""

    ATTRIBUTES = (
        "title",
        "placeholder",
        "aria-label",
        "alt",
        "data-confirm",
        "data-confirm-act",
        "data-confirm-keep",
        "content",
    )
    HIDDEN = {"script", "style", "code", "pre", "kbd", "svg", "math"}
    VOID = {"meta", "link", "input", "br", "hr", "img", "col", "path", "source", "wbr"}

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        written = values.get("dir") == "auto" or "prose" in (values.get("class") or "").split()
        hidden = tag in self.HIDDEN or written or "data-not-translated" in values
        if tag not in self.VOID:
            self.open.append((tag, hidden or bool(self.open and self.open[-1][1])))
        if not (hidden or (self.open and self.open[-1][1])) and tag != "meta":
            self.found += [value for name in self.ATTRIBUTES if (value := values.get(name))]

    def handle_endtag(self, tag: str) -> None:
        while self.open:
            name, _ = self.open.pop()
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        if not (self.open and self.open[-1][1]):
            self.found.append(" ".join(data.split()))


def plain_words(page: str, known: set[str]) -> list[str]:
    """The texts of a page with words of plain letters that are not known, in order."""
    parser = _Texts()
    parser.feed(page)
    return [text for text in parser.found if any(word.lower() not in known for word in WORD.findall(text))]
