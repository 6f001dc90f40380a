"""Template filters `{{ seconds|duration }}` and `{{ seconds|short_duration }}`."""

from __future__ import annotations

from datetime import timedelta

from django import template

from annotation.logic import durations

register = template.Library()


@register.filter
def duration(value: float | timedelta | None) -> str:
    """Seconds, or a timedelta, in words."""
    return durations.duration(value.total_seconds() if isinstance(value, timedelta) else value)


@register.filter
def short_duration(value: float | None) -> str:
    """Seconds, for figures: "1 min 33 s"."""
    return durations.short_duration(value)
