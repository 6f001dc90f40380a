"""Texts in the reader's language, for modules that do not import Django: Django's translations are put in by
`annotation.apps`. A program without Django keeps the English texts."""

from __future__ import annotations

from collections.abc import Callable
from math import floor, isfinite, log10


def _english_plural(one: str, many: str, n: int) -> str:
    return one if n == 1 else many


def _english_number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


_translate: Callable[[str], str] = str
_translate_plural: Callable[[str, str, int], str] = _english_plural
_format_number: Callable[[float, int], str] = _english_number


def use(
    translate: Callable[[str], str],
    translate_plural: Callable[[str, str, int], str],
    format_number: Callable[[float, int], str],
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


def format_number(value: float, decimals: int = 0) -> str:
    """A number with that many decimals and with the marks that the language of the current thread has for them and between
    thousands."""
    return _format_number(round(value, decimals) + 0.0, decimals)  # + 0.0: there is no "-0"


def format_percent(share: float, decimals: int = 0) -> str:
    """`0.583, 1 -> "58.3%"`, with the decimal mark of the language of the current thread."""
    return f"{format_number(100 * share, decimals)}%"


def format_digits(value: float, digits: int) -> str:
    """A number with up to that many significant digits, all of them before the decimal mark, and no zeros at the end; one
    that is nearer to 0 than 0.0001 as programs write it."""
    if not isfinite(value) or value == 0:
        return format_number(value)
    if abs(value) < 1e-4:
        return f"{value:.{digits}g}"
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    rounded = f"{value:.{decimals}f}"
    return format_number(value, len(rounded.rstrip("0").partition(".")[2]))


def gettext_noop(text: str) -> str:
    """The text itself: marks a text that is translated where it is shown."""
    return text
