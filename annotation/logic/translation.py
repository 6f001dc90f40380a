"""Texts in the reader's language, for modules that do not import Django: Django's translations are put in by
`annotation.apps`. A program without Django keeps the English texts."""

from __future__ import annotations

from collections.abc import Callable


def _english_plural(one: str, many: str, n: int) -> str:
    return one if n == 1 else many


def _english_number(value: float) -> str:
    return f"{value:,.0f}"


_translate: Callable[[str], str] = str
_translate_plural: Callable[[str, str, int], str] = _english_plural
_format_number: Callable[[float], str] = _english_number


def use(
    translate: Callable[[str], str],
    translate_plural: Callable[[str, str, int], str],
    format_number: Callable[[float], str],
) -> None:
    """Translate with these from now on."""
    global _translate, _translate_plural, _format_number
    _translate, _translate_plural, _format_number = translate, translate_plural, format_number


def gettext(text: str) -> str:
    """The text in the language of the current thread."""
    return _translate(text)


def ngettext(one: str, many: str, n: int) -> str:
    """The text for a number, in the language of the current thread. Its placeholders are not filled in."""
    return _translate_plural(one, many, n)


def format_number(value: float) -> str:
    """A number without decimals, with the marks that the language of the current thread puts between thousands."""
    return _format_number(value)


def gettext_noop(text: str) -> str:
    """The text itself: marks a text that is translated where it is shown."""
    return text
