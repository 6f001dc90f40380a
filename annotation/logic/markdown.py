"""Markdown from users or models, rendered to sanitized HTML.

Done once, when a text is stored; pages show the stored result. The time grows no faster than the text: comrak is made for the
texts of strangers, and code is highlighted in the browser (`static/js/highlight.js`).
"""

from __future__ import annotations

import re
from html import escape
from itertools import accumulate

import nh3
from comrak import ExtensionOptions, RenderOptions, render_markdown

_options = RenderOptions()
_options.escape = _options.hardbreaks = True
_with_tables, _without_tables = ExtensionOptions(), ExtensionOptions()
_with_tables.strikethrough = _without_tables.strikethrough = _with_tables.table = True
_allowed = {
    "tags": set(
        "a blockquote br code del div em h1 h2 h3 h4 h5 h6 hr li ol p pre strong table tbody td th thead tr ul".split()
    ),
    "attributes": {
        "a": {"href", "title"},
        "code": {"class"},
        "div": {"class", "tabindex", "role", "aria-label"},
        "ol": {"start"},
    },
    "url_schemes": {"http", "https", "mailto"},
}
MAX_CELLS = 10_000
"""Of the tables in a text. Short rows are filled up, so a long text could have very many."""
MAX_TAGS = 20_000
"""Of a text; more are no text, but take long to clean and to show."""
MAX_DEPTH = 100
"""Of elements within elements; the time that nh3 takes grows with its square."""

# What nobody sees, though it changes what is seen: overrides of the direction, and blanks without a width. Those signs that
# right-to-left texts and some languages need stay.
_MARKED = {0x200B: "⟨ZWSP⟩", 0xFEFF: "⟨BOM⟩", 0x202D: "⟨LRO⟩", 0x202E: "⟨RLO⟩"}

# A tag is text like any other: while a text is rendered, a noncharacter of Unicode stands for each `<` that begins no link.
_LESS_THAN = re.compile(r"<(?!(?:https?://|mailto:)[^\s<>]*>)")
_STAND_IN = "\ufdd0"
_TAG = re.compile(r"</?(?!br|hr|img)[a-z][a-z0-9]*(?=[ >])")

# Lines without Markdown: each begins with a letter and contains letters, digits, punctuation without a meaning in Markdown and
# single spaces. Most prompts are such texts, and many answers.
_SIGNS = r"""[\w.,;:?'"()%$€/+=–—‘’“”…-]"""
_PLAIN_LINE = rf"[^\W\d]{_SIGNS}*(?: {_SIGNS}+)*"
_PLAIN = re.compile(rf"{_PLAIN_LINE}(?:\n+{_PLAIN_LINE})*[ \n]*\Z")


def render(text: str) -> str:
    """Sanitized HTML. Signs that cannot be seen are named; images become links (nothing is loaded from other sites), wide tables
    scroll in a box of their own, and CSS finds the writing direction of every paragraph."""
    text = text.translate(_MARKED)
    return _paragraphs(text) if is_plain(text) else _render(text)


def is_plain(text: str) -> bool:
    """Whether a text certainly has no Markdown; false for some texts that have none."""
    return "_" not in text and _PLAIN.match(text) is not None


def _paragraphs(text: str) -> str:
    """The same as `_render` for plain lines, many times faster."""
    text = text.rstrip(" \n")
    paragraphs = re.split(r"\n{2,}", text) if "\n" in text else [text]
    return "".join(f"<p>{paragraph.replace(chr(10), '<br>' + chr(10))}</p>\n" for paragraph in paragraphs)


def _render(text: str) -> str:
    text = _LESS_THAN.sub(_STAND_IN, text.replace(_STAND_IN, "\ufffd"))
    extensions = _with_tables if _cells(text) <= MAX_CELLS else _without_tables
    html = render_markdown(text, extension_options=extensions, render_options=_options)
    if html.count("<") > MAX_TAGS or _depth(html) > MAX_DEPTH:
        html = "<p>" + escape(text).replace("\n", "<br>\n") + "</p>\n"
    html = re.sub(
        r'<img src="([^"]*)" alt="([^"]*)"[^>]*>',
        lambda match: f'<a href="{match[1]}">{match[2] or match[1]}</a>',
        html,
    )
    html = html.replace(
        "<table>", '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>'
    )
    html = html.replace("</table>", "</table></div>").replace(_STAND_IN, "&lt;")
    return nh3.clean(html, link_rel="noopener noreferrer nofollow", **_allowed)  # type: ignore[arg-type]


def _cells(text: str) -> int:
    """As many as a table of these lines could have."""
    return max(line.count("|") for line in text.split("\n")) * (text.count("\n") + 1)


def _depth(html: str) -> int:
    """How deep elements are nested. The renderer closes what it opens, but for `br`, `hr` and `img`."""
    ends = (-1 if tag.startswith("</") else 1 for tag in _TAG.findall(html))
    return max(accumulate(ends), default=0)
