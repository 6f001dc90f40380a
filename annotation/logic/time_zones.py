"""Time zones by their IANA names, and the days and hours of a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from annotation.logic.translation import gettext as _

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
# of the machine itself, and a placeholder
_NOT_PLACES = {"localtime", "Factory"}


@cache
def zone_names() -> tuple[str, ...]:
    """Every name that a user may choose, in alphabetical order."""
    return tuple(sorted(available_timezones() - _NOT_PLACES))


def zone_named(name: str) -> ZoneInfo:
    """The zone of an IANA name.

    Raises:
        ValueError: there is no such zone.
    """
    if name not in zone_names():
        sentence = _("%(name)r is not a time zone. Names look like Europe/Berlin or Asia/Kolkata.")
        raise ValueError(sentence % {"name": name})
    return ZoneInfo(name)


def day_start(day: date, zone: tzinfo) -> datetime:
    """The instant at which a day begins in a zone, in UTC. A day may have 23 or 25 hours."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def hours_of_day(day: date, zone: tzinfo) -> list[datetime]:
    """The start of each hour of a day, in the zone: 23 or 25 of them where clocks change."""
    at, end = day_start(day, zone), day_start(day + DAY, zone)
    hours = []
    while at < end:
        hours.append(at.astimezone(zone))
        at += HOUR
    return hours
