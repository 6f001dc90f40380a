"""The translations that are shipped: whole, compiled, and with the placeholders of the English texts."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = sorted(path.name for path in (ROOT / "locale").iterdir())
DOMAINS = ("django", "djangojs")
# what a text may leave out in the forms of 0, 1 and 2, and where its number stands in words
NUMBERS = {"n", "shown", "number", "count", "counter", "days", "total"}
KEYWORDS = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop"), None),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (1, 2)),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ((1, "c"), 2)),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), ((1, "c"), 2, 3)),
}
CALL = re.compile(r"""\b(?:n?p?gettext|_)\((?:[^()"']|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')*\)""")
"""In what Django makes of a template, which is no Python as a whole."""
Key = tuple[str | None, str]


def texts_of(code: str) -> Iterator[Key]:
    """The texts that a piece of Python passes to the functions of translation, with their contexts."""
    for _line, text, _comments, context in extract("python", io.BytesIO(code.encode()), KEYWORDS):
        yield context, text[0] if isinstance(text, tuple) else text


@cache
def texts_of_the_code() -> frozenset[Key]:
    found: set[Key] = set()
    for folder in ("annotation", "training", "config"):
        for path in (ROOT / folder).rglob("*.py"):
            found.update(texts_of(path.read_text()))
    for path in (ROOT / "templates").rglob("*.html"):
        calls = CALL.findall(templatize(path.read_text()))
        found.update(texts_of("\n".join(calls)))
    return frozenset((context, text) for context, text in found if text)


def catalog_of(language: str, domain: str) -> Catalog:
    with (ROOT / "locale" / language / "LC_MESSAGES" / f"{domain}.po").open("rb") as file:
        return read_po(file, locale=language, domain=domain)


def messages(catalog: Catalog) -> list[Message]:
    return [message for message in catalog if message.id]


def english(message: Message) -> str:
    """The text, or that of many."""
    return str(message.id if isinstance(message.id, str) else message.id[-1])


def forms(message: Message) -> tuple[str, ...]:
    return tuple(message.string) if isinstance(message.string, list | tuple) else (message.string,)


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)[sdf]", text)) | set(re.findall(r"\{(\w*)\}", text))


def tags(text: str) -> list[str]:
    return sorted(re.findall(r"</?[a-z]+\b[^>]*>", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_of_the_code_is_translated(language: str) -> None:
    known = {(message.context, text) for message in messages(catalog_of(language, "django"))
             for text in ((message.id,) if isinstance(message.id, str) else message.id)}  # fmt: skip
    missing = sorted(text for context, text in texts_of_the_code() if (context, text) not in known)
    assert not missing, f"{len(missing)} texts: make messages LANG={language}\n" + "\n".join(missing)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("domain", DOMAINS)
def test_no_translation_is_missing_or_in_doubt(language: str, domain: str) -> None:
    catalog = catalog_of(language, domain)
    open_ones = [english(one) for one in messages(catalog) if one.fuzzy or not all(forms(one))]
    assert not open_ones, f"{len(open_ones)} texts:\n" + "\n".join(open_ones)
    short = [
        english(one)
        for one in messages(catalog)
        if one.pluralizable and len(forms(one)) != catalog.num_plurals
    ]
    assert not short, f"other forms than {catalog.num_plurals}:\n" + "\n".join(short)


def is_faithful(message: Message, form: str) -> bool:
    """Whether a translation has the placeholders and tags of its text. Each form of a number may say as little as the first."""
    texts = (message.id,) if isinstance(message.id, str) else message.id
    wanted, found = placeholders(texts[-1]), placeholders(form)
    needed = wanted & placeholders(texts[0])
    if message.pluralizable:
        needed -= NUMBERS
    return needed <= found <= wanted and tags(form) in [tags(text) for text in texts]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("domain", DOMAINS)
def test_placeholders_and_tags_are_those_of_the_text(language: str, domain: str) -> None:
    found = messages(catalog_of(language, domain))
    wrong = [
        f"{english(one)!r} → {form!r}" for one in found for form in forms(one) if not is_faithful(one, form)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("domain", DOMAINS)
def test_compiled_files_are_those_of_the_sources(language: str, domain: str) -> None:
    with (ROOT / "locale" / language / "LC_MESSAGES" / f"{domain}.mo").open("rb") as file:
        compiled = {(one.context, english(one)): forms(one) for one in messages(read_mo(file))}
    source = {(one.context, english(one)): forms(one) for one in messages(catalog_of(language, domain))}
    assert compiled == source, "make messages-compile"
