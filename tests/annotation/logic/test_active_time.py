from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from annotation.logic.active_time import IDLE_AFTER_S, IDLE_AFTER_WRITING_S, active_seconds, interval

BERLIN = ZoneInfo("Europe/Berlin")
NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)
DAY = date(2026, 11, 20)


def at(minutes: float) -> datetime:
    return NINE + timedelta(minutes=minutes)


def test_intervals_apart_are_added() -> None:
    assert active_seconds([interval(at(1), 60, "a"), interval(at(5), 90, "a")], UTC) == {(DAY, "a"): 150}


def test_time_with_two_items_open_counts_once_and_for_the_first() -> None:
    pieces = [interval(at(4), 180, "b"), interval(at(3), 180, "a")]  # 1 to 4, and 0 to 3
    assert active_seconds(pieces, UTC) == {(DAY, "a"): 180, (DAY, "b"): 60}


def test_an_interval_within_another_adds_nothing() -> None:
    assert active_seconds([interval(at(9), 500, "a"), interval(at(5), 60, "b")], UTC) == {(DAY, "a"): 500}


def test_of_a_page_left_open_the_last_minutes_count() -> None:
    left_open = interval(at(60), 3600, "a")
    assert left_open.start == at(60) - timedelta(seconds=IDLE_AFTER_S)
    assert active_seconds([left_open], UTC) == {(DAY, "a"): IDLE_AFTER_S}
    assert active_seconds([interval(at(60), 3600, "a", writes=True)], UTC) == {
        (DAY, "a"): IDLE_AFTER_WRITING_S
    }


def test_work_over_midnight_is_divided_between_the_days_of_the_zone() -> None:
    ends = datetime(2026, 11, 20, 23, 2, tzinfo=UTC)  # 0:02 in Berlin
    assert active_seconds([interval(ends, 300, "a")], BERLIN) == {
        (DAY, "a"): 180,
        (date(2026, 11, 21), "a"): 120,
    }
    assert active_seconds([interval(ends, 300, "a")], UTC) == {(DAY, "a"): 300}


def test_the_hour_that_a_clock_repeats_counts_twice_and_the_one_it_leaves_out_not_at_all() -> None:
    for change in (datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)):
        pieces = [interval(change + timedelta(minutes=5 * n), 300, "a") for n in range(-6, 7)]
        assert active_seconds(pieces, BERLIN) == {(change.date(), "a"): 13 * 300}


def test_seconds_below_zero_count_as_none() -> None:
    assert active_seconds([interval(at(0), -5, "a")], UTC) == {}


MINUTES = st.integers(-3000, 3000)


@given(st.lists(st.tuples(MINUTES, st.integers(0, 1500), st.sampled_from("abc")), max_size=20))
def test_it_is_the_length_of_the_union_in_every_zone(pieces: list[tuple[int, int, str]]) -> None:
    """As counted second by second, with whole minutes as ends."""
    intervals = [interval(at(minute), seconds, key) for minute, seconds, key in pieces]
    covered: set[int] = set()
    for piece in intervals:
        start, end = (int((t - NINE).total_seconds()) for t in (piece.start, piece.end))
        covered.update(range(start, end))
    for zone in (UTC, BERLIN, ZoneInfo("Asia/Kolkata"), ZoneInfo("America/Santiago")):
        found = active_seconds(intervals, zone)
        assert round(sum(found.values())) == len(covered)
        assert all(seconds > 0 for seconds in found.values())
        assert {key for _, key in found} <= {key for _, _, key in pieces}
