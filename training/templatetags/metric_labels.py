"""Filters that format and label metrics: `{{ value|metric_value:"accuracy" }}`."""

from __future__ import annotations

from typing import Any

from django import template

from training import metric_labels

register = template.Library()


@register.filter
def metric_value(value: float | None, name: str) -> str:
    return metric_labels.format_value(name, value)


@register.filter
def metric_label(name: str) -> str:
    return metric_labels.label_of(name).label


@register.filter
def metric_description(name: str) -> str:
    return metric_labels.label_of(name).description


@register.filter
def get_item(values: dict[Any, Any], key: Any) -> Any:
    """The value of a key that is also the name of a dictionary's method, such as `items`."""
    return values.get(key)
