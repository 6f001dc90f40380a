"""Durations in words."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, floor

from annotation.logic.translation import gettext as _
from annotation.logic.translation import ngettext

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
        values = {"hours": hours, "minutes": minutes}
        return (_("%(hours)s h %(minutes)s min") if minutes else _("%(hours)s h")) % values
    if minutes >= 10 or (minutes and not rest):
        return _("%(minutes)s min") % {"minutes": minutes}
    values = {"minutes": minutes, "seconds": rest}
    return (_("%(minutes)s min %(seconds)s s") if minutes else _("%(seconds)s s")) % values


def duration_range(low: float, high: float) -> str:
    """`(7300, 10900) -> "2 to 4 hours"`, `(1900, 16000) -> "31 minutes to 5 hours"`: seconds, rounded outwards, each in the
    largest unit of which it has three."""
    (unit, size), (high_unit, high_size) = _range_unit(low), _range_unit(high)
    first, last = max(1, floor(low / size + 1e-9)), max(1, ceil(high / high_size - 1e-9))
    if unit == high_unit or low >= high_size:
        first = max(1, floor(low / high_size + 1e-9))
        return _counted(last, high_unit) if first == last else _ranged(first, last, high_unit)
    return _("%(low)s to %(high)s") % {"low": _counted(first, unit), "high": _counted(last, high_unit)}


def _range_unit(seconds: float) -> tuple[str, int]:
    return next(((unit, size) for unit, size in _UNITS if seconds >= 3 * size or size == 1))


def _ranged(low: int, high: int, unit: str) -> str:
    texts = {
        "day": ngettext("%(low)s to %(n)s day", "%(low)s to %(n)s days", high),
        "hour": ngettext("%(low)s to %(n)s hour", "%(low)s to %(n)s hours", high),
        "minute": ngettext("%(low)s to %(n)s minute", "%(low)s to %(n)s minutes", high),
        "second": ngettext("%(low)s to %(n)s second", "%(low)s to %(n)s seconds", high),
    }
    return texts[unit] % {"low": low, "n": high}


def _counted(number: int, unit: str) -> str:
    texts = {
        "day": ngettext("%(n)s day", "%(n)s days", number),
        "hour": ngettext("%(n)s hour", "%(n)s hours", number),
        "minute": ngettext("%(n)s minute", "%(n)s minutes", number),
        "second": ngettext("%(n)s second", "%(n)s seconds", number),
    }
    return texts[unit] % {"n": number}
