"""Template tag for the radio buttons of an answer's card, which is faster than template code."""

from __future__ import annotations

from collections.abc import Iterable

from django import template
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.simple_tag
def choices(name: str, letter: str, values: Iterable[int], chosen: int | None, more: str = "") -> SafeString:
    """A radio button named `<name>-<letter>` per value; `more` is another attribute of each. The texts come from the
    template or are keys of questions, the letter is one of `LETTERS`, and everything else is a number, so nothing needs
    escaping."""
    return mark_safe(  # noqa: S308
        "".join(
            f'<label><input type="radio" name="{name}-{letter}" value="{value:d}"'
            f"{' ' + more if more else ''}{' checked' if value == chosen else ''}><span>{value:d}</span></label>"
            for value in values
        )
    )


@register.simple_tag
def criterion(key: str, letter: str, values: Iterable[int], chosen: int | None) -> SafeString:
    """The radio buttons of one rating by criterion."""
    return choices(f"criterion-{key}", letter, values, chosen)
