"""`{{ value|figure:"accuracy" }}`: a measured value as people read it."""

from __future__ import annotations

from typing import Any

from django import template

from training import metric_labels

register = template.Library()


@register.filter
def figure(value: float | None, name: str) -> str:
    return metric_labels.shown(name, value)


@register.filter
def figure_label(name: str) -> str:
    return metric_labels.figure(name).label


@register.filter
def figure_sentence(name: str) -> str:
    return metric_labels.figure(name).sentence


@register.filter
def at(values: dict[str, Any], key: str) -> Any:
    """What stands under a key that is also the name of a dictionary's method, such as `items`."""
    return values.get(key)
