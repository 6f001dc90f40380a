"""Texts in the reader's language, for modules that do not import Django: Django's translations are put in by
`annotation.apps`. A program without Django keeps the English texts."""

from __future__ import annotations

from collections.abc import Callable


def _english_plural(one: str, many: str, n: int) -> str:
    return one if n == 1 else many


_translate: Callable[[str], str] = str
_translate_plural: Callable[[str, str, int], str] = _english_plural


def use(translate: Callable[[str], str], translate_plural: Callable[[str, str, int], str]) -> None:
    """Translate with these from now on."""
    global _translate, _translate_plural
    _translate, _translate_plural = translate, translate_plural


def gettext(text: str) -> str:
    """The text in the language of the current thread."""
    return _translate(text)


def ngettext(one: str, many: str, n: int) -> str:
    """The text for a number, in the language of the current thread. Its placeholders are not filled in."""
    return _translate_plural(one, many, n)


def gettext_noop(text: str) -> str:
    """The text itself: marks a text that is translated where it is shown."""
    return text
