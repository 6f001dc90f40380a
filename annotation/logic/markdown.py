"""Markdown written by people or models, to HTML that is safe to show.

Done once, when a text arrives; pages print the stored result.
"""

from __future__ import annotations

import re
from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

_formatter = HtmlFormatter(nowrap=True)


@lru_cache(maxsize=128)
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language)
    except ClassNotFound:
        return None


def _highlight(code: str, language: str, _attrs: str) -> str:
    lexer = _lexer(language)
    return str(highlight(code, lexer, _formatter)) if lexer else ""


# `html: False` shows tags in the text as text; nh3 is the second wall
_markdown = MarkdownIt("commonmark", {"html": False, "highlight": _highlight, "breaks": True}).enable(
    ["table", "strikethrough"]
)
_allowed = {
    "tags": set(
        "a blockquote br code del div em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead tr ul".split()
    ),
    "attributes": {
        "a": {"href", "title"},
        "span": {"class"},
        "code": {"class"},
        "div": {"class", "tabindex", "role", "aria-label"},
        "ol": {"start"},
    },
    "url_schemes": {"http", "https", "mailto"},
}


# Lines that mean nothing in Markdown: each begins with a letter, and holds letters, digits, signs without a meaning and single
# blanks between them. Most prompts are such texts, and many answers.
_SIGNS = r"""[\w.,;:?'"()%$€/+=–—‘’“”…-]"""
_PLAIN_LINE = rf"[^\W\d]{_SIGNS}*(?: {_SIGNS}+)*"
_PLAIN = re.compile(rf"{_PLAIN_LINE}(?:\n+{_PLAIN_LINE})*[ \n]*\Z")


def render(text: str) -> str:
    """Sanitised HTML. Pictures become links (nothing is fetched from elsewhere while people read), wide tables scroll
    inside a box of their own, and every paragraph finds its own writing direction by CSS."""
    return _paragraphs(text) if is_plain(text) else _render(text)


def is_plain(text: str) -> bool:
    """Whether a text has no Markdown in it for sure; many that have none are not told."""
    return "_" not in text and _PLAIN.match(text) is not None


def _paragraphs(text: str) -> str:
    """What `_render` makes of plain lines, many times faster."""
    text = text.rstrip(" \n")
    paragraphs = re.split(r"\n{2,}", text) if "\n" in text else [text]
    return "".join(f"<p>{paragraph.replace(chr(10), '<br>' + chr(10))}</p>\n" for paragraph in paragraphs)


def _render(text: str) -> str:
    html = _markdown.render(text)
    html = re.sub(
        r'<img src="([^"]*)" alt="([^"]*)"[^>]*>',
        lambda found: f'<a href="{found[1]}">{found[2] or found[1]}</a>',
        html,
    )
    html = html.replace(
        "<table>", '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>'
    )
    html = html.replace("</table>", "</table></div>")
    return nh3.clean(html, link_rel="noopener noreferrer nofollow", **_allowed)  # type: ignore[arg-type]
