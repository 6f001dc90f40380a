"""Documents of the project itself, such as its guides, rendered to HTML: headings have ids, and links between documents lead to
the pages that show them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape, unescape

from comrak import ExtensionOptions, RenderOptions, render_markdown

_options = RenderOptions()
_options.escape = True
_extensions = ExtensionOptions()
_extensions.table, _extensions.strikethrough, _extensions.header_id_prefix = True, True, ""
# what comrak writes into a heading: a link that is hidden from screen readers, though keys reach it
_ANCHOR = re.compile(r'<(h[1-6])><a href="#[^"]*" aria-hidden="true" class="anchor" id="([^"]*)"></a>')
_HEADING = re.compile(r'<(h[12]) id="([^"]*)">(.*?)</\1>', re.DOTALL)
_LINK = re.compile(r'<a href="([^"]*)"([^>]*)>(.*?)</a>', re.DOTALL)
# as GitHub shows them: the picture of the light theme stands for both
_TWO_THEMES = re.compile(r'<picture>.*?<img alt="([^"]*)" src="([^"]*)">\s*</picture>', re.DOTALL)
_PICTURE = re.compile(r'<img src="pictures/([^"]*)-light\.png" alt="([^"]*)"[^>]*>')
_OTHER_PICTURE = re.compile(r'<p>\s*<img src="(?!pictures/)[^>]*>\s*</p>\n?|<img src="(?!pictures/)[^>]*>')
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_IN_DOCUMENTS = re.compile(r"([\w-]+)\.md(#[\w.-]+)?")


@dataclass(frozen=True)
class Heading:
    """A heading below the title: its id in the HTML, and its text."""

    id: str
    text: str


@dataclass(frozen=True)
class Document:
    title: str
    html: str
    headings: tuple[Heading, ...]


def render_document(
    source: str, path_of: Callable[[str], str], picture_path: Callable[[str], str]
) -> Document:
    """A document with one heading of the first level, its title, which `html` lacks. Its pictures of pages
    follow the theme; others, which are not served, are left out.

    Args:
        path_of: the path of the page that shows a document, by the name of its file without the ending; empty where none does.
            A link to such a file is its text alone, like other links into the repository.
        picture_path: where a picture is served, by the name of its file.
    """
    source = _TWO_THEMES.sub(r"![\1](\2)", source)
    html = render_markdown(source, extension_options=_extensions, render_options=_options)
    html = _OTHER_PICTURE.sub("", html)
    html = _PICTURE.sub(lambda match: _picture(match[1], match[2], picture_path), html)
    html = _ANCHOR.sub(r'<\1 id="\2">', html)
    found: dict[str, list[Heading]] = {"h1": [], "h2": []}
    for tag, name, text in _HEADING.findall(html):
        found[tag].append(Heading(name, unescape(_TAG.sub("", text))))
    html = re.sub(r"<h1 .*?</h1>\n?", "", html, count=1, flags=re.DOTALL)
    html = _LINK.sub(lambda match: _link(match, path_of), html)
    html = _TABLE.sub(r'<div class="scroll" tabindex="0" role="group" aria-label="Table">\g<0></div>', html)
    return Document(found["h1"][0].text, html, tuple(found["h2"]))


def _picture(name: str, text: str, picture_path: Callable[[str], str]) -> str:
    """text: the alternative text, escaped."""
    light, dark = (escape(picture_path(f"{name}-{theme}.png")) for theme in ("light", "dark"))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{text}" loading="lazy"></picture>'
    )


def _link(match: re.Match[str], path_of: Callable[[str], str]) -> str:
    target, attributes, text = match.groups()
    if re.match(r"https?:|mailto:|#", target):
        return match[0]
    document = _IN_DOCUMENTS.fullmatch(target)
    path = path_of(document[1]) if document else ""
    return f'<a href="{path}{document[2] or ""}"{attributes}>{text}</a>' if document and path else text
