"""Figures in the overseeing pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django import template
from django.http import QueryDict

from annotation.audit import VERBS
from annotation.logic.response_flags import FLAGS

register = template.Library()

# a template gives an empty text where a figure does not exist
NOTHING: tuple[object, ...] = (None, "")


@register.filter
def percent(value: object) -> str:
    """`0.613 -> "61.3"`, as a length in percent; nothing of None."""
    return "" if value in NOTHING else f"{100 * float(str(value)):.1f}"


@register.filter
def whole(value: object) -> str:
    """`0.613 -> "61%"`."""
    return "" if value in NOTHING else f"{100 * float(str(value)):.0f}%"


@register.filter
def figure(value: object) -> str:
    """`0.4193 -> "0.42"`, with a true minus."""
    return "" if value in NOTHING else f"{float(str(value)):.2f}".replace("-", "−")


@register.filter
def on_scale(value: float) -> float:
    """An alpha or tau from -0.2 to 1 as a place from 0 to 100."""
    return round(100 * (min(1.0, max(-0.2, value)) + 0.2) / 1.2, 1)


@register.filter
def entry(verb: str) -> str:
    return VERBS.get(verb, verb)


@register.filter
def details(data: dict[str, Any]) -> str:
    """What an audited entry changed, on one line."""
    shown = {
        name: value for name, value in data.items() if name not in ("user", "item", "member") and value != ""
    }
    if set(shown) == {"reason"}:
        return str(shown["reason"])
    return ", ".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in shown.items()
    )[:300]


@register.filter
def flag_words(flags: Sequence[str]) -> str:
    """Flags by their names, as the screens write them."""
    return ", ".join(FLAGS.get(flag, flag) for flag in flags)


@register.filter
def last_words(messages: Sequence[dict[str, Any]]) -> str:
    """How a conversation ends."""
    return str(messages[-1]["content"])[:200] if messages else ""


@register.simple_tag
def query(current: QueryDict, **changes: object) -> str:
    """`?…` with some of its parts changed; an empty value drops one, and the page number goes with any change."""
    kept = {name: value for name, value in current.items() if name != "page"}
    kept |= {name: str(value) for name, value in changes.items()}
    return "?" + urlencode({name: value for name, value in kept.items() if value})
