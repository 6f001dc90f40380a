"""Parts of an answer's card that would be many small steps for a template."""

from __future__ import annotations

from collections.abc import Iterable

from django import template
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.simple_tag
def choices(
    name: str, response_id: int, values: Iterable[int], chosen: int | None, more: str = ""
) -> SafeString:
    """A radio button `<name>-<response id>` for every value; `more` is a further attribute of each. The two texts are the
    template's own, all else is numbers: nothing needs escaping."""
    return mark_safe(  # noqa: S308
        "".join(
            f'<label><input type="radio" name="{name}-{response_id:d}" value="{value:d}"'
            f"{' ' + more if more else ''}{' checked' if value == chosen else ''}><span>{value:d}</span></label>"
            for value in values
        )
    )
