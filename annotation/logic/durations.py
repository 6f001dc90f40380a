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


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
