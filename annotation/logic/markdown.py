"""Markdown from users or models, rendered to sanitized HTML.

Done once, when a text is stored; pages show the stored result.
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


# `html: False` shows tags as text; nh3 is the second line of defense
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


# Lines without Markdown: each begins with a letter and contains letters, digits, punctuation without a meaning in Markdown and
# single spaces. Most prompts are such texts, and many answers.
_SIGNS = r"""[\w.,;:?'"()%$€/+=–—‘’“”…-]"""
_PLAIN_LINE = rf"[^\W\d]{_SIGNS}*(?: {_SIGNS}+)*"
_PLAIN = re.compile(rf"{_PLAIN_LINE}(?:\n+{_PLAIN_LINE})*[ \n]*\Z")


def render(text: str) -> str:
    """Sanitized HTML. Images become links (nothing is loaded from other sites), wide tables scroll in a box of their own, and
    CSS finds the writing direction of every paragraph."""
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
    html = _markdown.render(text)
    html = re.sub(
        r'<img src="([^"]*)" alt="([^"]*)"[^>]*>',
        lambda match: f'<a href="{match[1]}">{match[2] or match[1]}</a>',
        html,
    )
    html = html.replace(
        "<table>", '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>'
    )
    html = html.replace("</table>", "</table></div>")
    return nh3.clean(html, link_rel="noopener noreferrer nofollow", **_allowed)  # type: ignore[arg-type]
