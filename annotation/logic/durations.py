"""Durations in words."""

from __future__ import annotations

from itertools import pairwise

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def duration(seconds: float | None) -> str:
    """`5400 -> "1 hour 30 minutes"`, `42.3 -> "42 seconds"`: the two largest units, and the second one only below ten
    of the first. Empty if the time is unknown."""
    if seconds is None:
        return ""
    left = max(0, round(seconds))
    for (unit, size), (smaller, part) in pairwise(_UNITS):
        if left >= size:
            count, rest = divmod(left, size)
            parts = [_counted(count, unit)]
            if count < 10 and rest // part:
                parts.append(_counted(rest // part, smaller))
            return " ".join(parts)
    return _counted(left, "second")


def short_duration(seconds: float | None) -> str:
    """`93 -> "1 min 33 s"`, `9000 -> "2 h 30 min"`: for figures. Empty if the time is unknown."""
    if seconds is None:
        return ""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes >= 10 or (minutes and not rest):
        return f"{minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
