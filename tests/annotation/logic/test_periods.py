from __future__ import annotations

from datetime import date

import pytest

from annotation.logic import periods
from annotation.logic.periods import Period, PeriodError

FRIDAY = date(2026, 11, 27)


@pytest.mark.parametrize(
    ("name", "today", "first", "last"),
    [
        ("this-week", FRIDAY, date(2026, 11, 23), date(2026, 11, 29)),
        ("this-week", date(2026, 11, 29), date(2026, 11, 23), date(2026, 11, 29)),
        ("last-week", FRIDAY, date(2026, 11, 16), date(2026, 11, 22)),
        ("this-month", FRIDAY, date(2026, 11, 1), date(2026, 11, 30)),
        ("this-month", date(2024, 2, 29), date(2024, 2, 1), date(2024, 2, 29)),
        ("this-month", date(2026, 12, 31), date(2026, 12, 1), date(2026, 12, 31)),
        ("last-month", date(2026, 1, 1), date(2025, 12, 1), date(2025, 12, 31)),
        ("last-month", date(2026, 3, 31), date(2026, 2, 1), date(2026, 2, 28)),
    ],
)
def test_periods_by_name(name: str, today: date, first: date, last: date) -> None:
    assert periods.read({"period": name}, today) == Period(first, last, name)


def test_without_a_name_it_is_this_week() -> None:
    assert periods.read({}, FRIDAY).name == "this-week"


def test_periods_by_days() -> None:
    assert periods.read({"from": "2026-11-01", "to": "2026-11-03"}, FRIDAY) == Period(
        date(2026, 11, 1), date(2026, 11, 3)
    )
    assert periods.read({"from": "2026-11-20"}, FRIDAY) == Period(date(2026, 11, 20), FRIDAY)


@pytest.mark.parametrize(
    ("query", "field", "sentence"),
    [
        ({"period": "yesterday"}, "period", "is not a period"),
        ({"from": "20 November"}, "from", "is not a date"),
        ({"to": "2026-02-30"}, "to", "is not a date"),
        ({"from": "0001-01-01"}, "from", "between the years"),
        ({"from": "2026-11-20", "to": "2026-11-19"}, "to", "is before the first"),
        ({"from": "2025-01-01", "to": "2026-11-19"}, "from", "at most 366 days"),
    ],
)
def test_what_is_no_period_is_refused(query: dict[str, str], field: str, sentence: str) -> None:
    with pytest.raises(PeriodError, match=sentence) as caught:
        periods.read(query, FRIDAY)
    assert caught.value.field == field
