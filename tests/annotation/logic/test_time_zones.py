from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from annotation.logic.time_zones import DAY, day_start, hours_of_day, zone_named, zone_names

BERLIN = ZoneInfo("Europe/Berlin")


def test_names_are_those_of_places() -> None:
    assert {"Europe/Berlin", "Asia/Kolkata", "UTC"} <= set(zone_names())
    assert not {"localtime", "Factory"} & set(zone_names())
    assert zone_named("Asia/Kolkata") == ZoneInfo("Asia/Kolkata")


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "europe/berlin\0", "../etc/passwd", "localtime"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        zone_named(name)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 20), 24)]
)
def test_a_day_may_have_23_or_25_hours(day: date, hours: int) -> None:
    assert day_start(day + DAY, BERLIN) - day_start(day, BERLIN) == timedelta(hours=hours)
    starts = hours_of_day(day, BERLIN)
    assert len(starts) == hours
    shown = [at.hour for at in starts]
    assert shown.count(2) == {23: 0, 24: 1, 25: 2}[hours]
    assert (shown[0], shown[-1]) == (0, 23)


def test_a_day_whose_midnight_the_clock_leaves_out_begins_at_one() -> None:
    santiago = ZoneInfo("America/Santiago")
    start = day_start(date(2026, 9, 6), santiago)
    assert start == datetime(2026, 9, 6, 4, tzinfo=UTC)
    assert start.astimezone(santiago).hour == 1
