"""Template tags of the judging screens: the radio buttons of an answer's card, faster than template code, and the keys."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django import template
from django.template import Context
from django.utils.safestring import SafeString, mark_safe

from annotation.logic import judging_keys as logic

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


@register.simple_tag(takes_context=True)
def judging_keys(context: Context) -> dict[str, Any]:
    """The user's keys: the command of each key, for the scripts, and the list of keys for the project's items."""
    keys = logic.keys_of(context["user"].judging_keys)
    project = context["project"]
    asks_own = project.question_set_id is not None
    asked = {
        "ratings": project.asks_quality or asks_own,
        "safety": project.asks_safety,
        "flags": project.asks_flags or asks_own,
    }
    return {
        "commands": json.dumps({key: name for name, key in keys.items()}),
        "groups": logic.list_of_keys(keys, [name for name, is_asked in asked.items() if is_asked]),
    }
