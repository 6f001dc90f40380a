"""Template filters of the analytics and review pages: numbers, audit entries and query strings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django import template
from django.http import QueryDict
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from annotation import analytics
from annotation.actions import uploads
from annotation.audit import VERBS
from annotation.logic.response_flags import label
from annotation.logic.translation import format_percent

register = template.Library()

# a template passes an empty string for a missing value
MISSING: tuple[object, ...] = (None, "")


register.filter(analytics.count_text)
register.simple_tag(uploads.counted_rows)
register.simple_tag(uploads.error_of_row)


@register.filter
def percent(value: object) -> str:
    """`0.613 -> "61.3"`, for lengths in CSS and SVG; empty for None."""
    return "" if value in MISSING else f"{100 * float(str(value)):.1f}"


@register.filter
def as_percent(value: object, decimals: int = 0) -> str:
    """`0.613 -> "61%"`."""
    return "" if value in MISSING else format_percent(float(str(value)), decimals)


@register.filter
def points(value: float) -> str:
    """`-0.08 -> "−8"`: percentage points, with their sign; what rounds to 0 has none."""
    rounded = round(100 * value)
    return f"{rounded:+d}".replace("-", "−") if rounded else "0"


@register.filter
def json_text(value: object) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@register.filter
def decimal(value: object) -> str:
    """`0.4193 -> "0.42"`, with a typographic minus."""
    return "" if value in MISSING else number_format(f"{float(str(value)):.2f}", 2).replace("-", "−")


@register.filter
def signed(value: float) -> str:
    """`-0.4193 -> "−0.42"`, `0.5 -> "+0.50"`."""
    return number_format(f"{value:+.2f}", 2).replace("-", "−")


@register.filter
def on_scale(value: float) -> str:
    """Position of an alpha or tau from -0.2 to 1 on a scale from 0 to 100, for lengths in SVG."""
    return f"{100 * (min(1.0, max(-0.2, value)) + 0.2) / 1.2:.1f}"


@register.filter
def question_label(key: str) -> str:
    """`too_long -> "too long"`: the key of one of the project's own questions, for people."""
    return key.replace("_", " ")


@register.filter
def event_label(verb: str) -> str:
    return _(VERBS[verb]) if verb in VERBS else verb


@register.filter
def event_details(data: dict[str, Any]) -> str:
    """The data of an audit entry, on one line."""
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
def flag_labels(flags: Sequence[str]) -> str:
    """Flags by their labels."""
    return ", ".join(map(label, flags))


@register.filter
def last_message(messages: Sequence[dict[str, Any]]) -> str:
    """The last message of a conversation, shortened."""
    return str(messages[-1]["content"])[:200] if messages else ""


@register.simple_tag
def query(current: QueryDict, **changes: object) -> str:
    """The query string with some parameters changed; empty values and the page number are dropped."""
    parameters = {name: value for name, value in current.items() if name != "page"}
    parameters |= {name: str(value) for name, value in changes.items()}
    return "?" + urlencode({name: value for name, value in parameters.items() if value})
