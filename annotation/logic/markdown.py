"""Markdown from users or models, rendered to sanitized HTML.

Done when a page shows the text, in about 0.1 ms. The time grows no faster than the text: comrak is made for the
texts of strangers; code is highlighted and formulas are typeset in the browser (`static/js/highlight.js`, `math.js`).
"""

from __future__ import annotations

import re
from html import escape
from itertools import accumulate
from urllib.parse import quote

import nh3
from comrak import ExtensionOptions, RenderOptions, render_markdown

from annotation.logic import formulas, invisible
from annotation.logic.text_direction import set_directions

_options = RenderOptions()
_options.escape = _options.hardbreaks = _options.full_info_string = True
_with_tables, _without_tables = ExtensionOptions(), ExtensionOptions()
_with_tables.strikethrough = _without_tables.strikethrough = _with_tables.table = True
_DIRECTIONS = {"dir": {"ltr", "rtl", "auto"}}
_ALIGNMENT = {"align": {"left", "center", "right"}}
_CLEANER = nh3.Cleaner(
    link_rel="noopener noreferrer nofollow",
    tags=set(
        "a blockquote br code del div em h1 h2 h3 h4 h5 h6 hr li ol p pre span strong table tbody td th thead tr ul".split()
    ),
    attributes={
        "a": {"href", "title"},
        "code": {"class"},
        "div": {"class", "tabindex", "role", "aria-label"},
        "ol": {"start"},
        "span": {"title"},
    },
    tag_attribute_values={
        "a": {"class": {"image"}},
        "span": {"class": {"invisible", "language"}},
        "blockquote": _DIRECTIONS,
        "div": _DIRECTIONS,
        "ol": _DIRECTIONS,
        "ul": _DIRECTIONS,
        "td": _ALIGNMENT,
        "th": _ALIGNMENT,
    },
    url_schemes={"http", "https", "mailto"},
)
MAX_CELLS = 10_000
"""Of the tables in a text. Short rows are filled up, so a long text could have very many."""
MAX_TAGS = 20_000
"""Of a text; more are no text, but take long to clean and to show."""
MAX_DEPTH = 100
"""Of elements within elements; the time that nh3 takes grows with its square."""

# A tag is text like any other: while a text is rendered, a noncharacter of Unicode stands for each `<` that begins no link.
_LESS_THAN = re.compile(r"<(?!(?:https?://|mailto:)[^\s<>]*>)")
_STAND_IN = "\ufdd0"
# In place of a sign that cannot be seen: its code between two of these noncharacters.
_INVISIBLE = "\ufdd2"
_STAND_INS = re.compile(
    # tags of code, and those with attributes
    r"(?P<tag></?code[^>]*>|<[^>=]*=[^>]*>)"
    rf"|{formulas.STAND_IN}(?P<formula>\d+){formulas.STAND_IN}|{_INVISIBLE}(?P<sign>\d+){_INVISIBLE}"
)
# they stand as they are in a text, and encoded in an address
_IN_ATTRIBUTES = re.compile(
    rf"(?P<encoded>%EF%B7%9(?P<kind>[12])|[{formulas.STAND_IN}{_INVISIBLE}])(?P<number>\d+)(?P=encoded)"
)
_TAG = re.compile(r"</?(?!br|hr|img)[a-z][a-z0-9]*(?=[ >])")

_DEFINITION = re.compile(r"(?m)^([ >]*+)\[[^\[\]\n]++\]:[ \t]*+<?(\S+)")
_SAFE = "/$&+,:;=?@()*'!~#%"
_IMAGE = re.compile(r'<img src="([^"]*)" alt="([^"]*)"[^>]*>')
# the attributes come in any order
_CODE_BLOCK = re.compile(r'<pre><code(?=[^>]* class="language-([^"]*)")(?:[^>]*? data-meta="([^"]*)")?[^>]*>')
_TABLE = re.compile(r'<table( dir="\w+")?>')

# Lines without Markdown: each begins with a letter and contains letters, digits, punctuation without a meaning in Markdown and
# single spaces. Most prompts are such texts, and many answers.
_SIGNS = r"""[\w.,;:?'"()%$€/+=–—‘’“”…-]"""
_PLAIN_LINE = rf"[^\W\d]{_SIGNS}*(?: {_SIGNS}+)*"
_PLAIN = re.compile(rf"{_PLAIN_LINE}(?:\n+{_PLAIN_LINE})*[ \n]*\Z")


def render(text: str) -> str:
    """Sanitized HTML. Signs that cannot be seen are named; formulas are `code.math` with their source, pictures are `a.image`
    (see `http/images.py`), wide tables scroll in a box of their own, and CSS finds the writing direction of every paragraph."""
    text = invisible.replace(text, lambda sign: f"{_INVISIBLE}{ord(sign)}{_INVISIBLE}")
    return _paragraphs(text) if is_plain(text) else _render(text)


def render_source(text: str) -> str:
    """The text itself as HTML, every character of it, for an element that keeps white space; signs that cannot be seen are
    named where they stand."""
    return invisible.replace(escape(text, quote=False), invisible.mark)


def is_plain(text: str) -> bool:
    """Whether a text certainly has no Markdown; false for some texts that have none."""
    # one dollar alone is a price; two could be a formula
    return "_" not in text and text.count("$") < 2 and _PLAIN.match(text) is not None


def _paragraphs(text: str) -> str:
    """The same as `_render` for plain lines, many times faster."""
    text = text.rstrip(" \n")
    paragraphs = re.split(r"\n{2,}", text) if "\n" in text else [text]
    return "".join(f"<p>{paragraph.replace(chr(10), '<br>' + chr(10))}</p>\n" for paragraph in paragraphs)


def _render(text: str) -> str:
    marked = text
    text, sources = formulas.extract(text)
    if 2 * len(sources) + text.count(_INVISIBLE) > MAX_TAGS:
        return _as_text(marked)
    text = _LESS_THAN.sub(_STAND_IN, text)
    html = _to_html(text)
    if unused := _unused_definitions(text, html):
        html = _to_html(unused)
    if html.count("<") + 2 * len(sources) + html.count(_INVISIBLE) > MAX_TAGS or _depth(html) > MAX_DEPTH:
        return _as_text(marked)
    html = _IMAGE.sub(lambda match: f'<a class="image" href="{match[1]}">{match[2] or match[1]}</a>', html)
    html = _CODE_BLOCK.sub(_with_label, html)
    html = _TABLE.sub(
        r'<div class="scroll"\1 tabindex="0" role="group" aria-label="Table"><table>', set_directions(html)
    )
    html = html.replace("</table>", "</table></div>").replace(_STAND_IN, "&lt;")
    if sources or _INVISIBLE in text:
        html = _restore(html, sources)
    return _CLEANER.clean(html)


def _to_html(text: str) -> str:
    extensions = _with_tables if _cells(text) <= MAX_CELLS else _without_tables
    return render_markdown(text, extension_options=extensions, render_options=_options)


def _unused_definitions(text: str, html: str) -> str | None:
    """The text with the definitions of links escaped to which no link leads, since they would not be shown; None where there
    are none. They are the sources below an answer."""
    if "]:" not in text:
        return None
    words = set(re.split(r'[\s"<>]+', html))

    def shown(match: re.Match[str]) -> str:
        address = re.split('["<>]', match[2])[0]
        is_shown = escape(address) in words or quote(address, safe=_SAFE) in words
        return match[0] if is_shown else f"{match[1]}\\[{match[0][len(match[1]) + 1 :]}"

    escaped = _DEFINITION.sub(shown, text)
    return None if escaped == text else escaped


def _as_text(text: str) -> str:
    """The text without Markdown, with the names of signs that cannot be seen."""
    named = _IN_ATTRIBUTES.sub(lambda match: invisible.name(chr(int(match["number"]))), text)
    return "<p>" + escape(named).replace("\n", "<br>\n") + "</p>\n"


def _with_label(match: re.Match[str]) -> str:
    """The start of a code block, with what was written beside its fence."""
    label = f"{match[1]} {match[2] or ''}".rstrip()
    return f'<pre><span class="language">{label}</span><code class="language-{match[1]}">'


def _restore(html: str, sources: list[str]) -> str:
    """The HTML with formulas and marks of signs in place of what stood for them. In code and in addresses formulas are text."""
    in_code = False

    def source(number: str) -> str:
        return _STAND_INS.sub(of, escape(sources[int(number)], quote=False))

    def of(match: re.Match[str]) -> str:
        nonlocal in_code
        if tag := match["tag"]:
            in_code = tag.startswith("<code") or (in_code and tag != "</code>")
            return _IN_ATTRIBUTES.sub(lambda part: _in_attribute(part, sources), tag)
        if sign := match["sign"]:
            return invisible.mark(chr(int(sign)))
        if in_code:
            return source(match["formula"])
        kind = "display" if formulas.is_display(sources[int(match["formula"])]) else "inline"
        return f'<code class="math {kind}">{source(match["formula"])}</code>'

    return _STAND_INS.sub(of, html)


def _in_attribute(match: re.Match[str], sources: list[str]) -> str:
    is_address, number = match["kind"] is not None, int(match["number"])
    if match["encoded"] in ("%EF%B7%91", formulas.STAND_IN):
        named = _IN_ATTRIBUTES.sub(lambda part: invisible.name(chr(int(part["number"]))), sources[number])
        return quote(named, safe=_SAFE) if is_address else escape(named)
    return quote(chr(number)) if is_address else invisible.name(chr(number))


def _cells(text: str) -> int:
    """As many as a table of these lines could have."""
    return max(line.count("|") for line in text.split("\n")) * (text.count("\n") + 1)


def _depth(html: str) -> int:
    """How deep elements are nested. The renderer closes what it opens, but for `br`, `hr` and `img`."""
    ends = (-1 if tag.startswith("</") else 1 for tag in _TAG.findall(html))
    return max(accumulate(ends), default=0)
