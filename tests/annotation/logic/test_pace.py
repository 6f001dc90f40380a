from __future__ import annotations

import random
from dataclasses import replace

import pytest

from annotation.logic.durations import duration_range
from annotation.logic.pace import Worker, pace, time_left


def test_each_counts_since_they_began() -> None:
    workers = [Worker("bob", judgments=30, minutes=60), Worker("erin", judgments=10, minutes=5)]
    assert pace(workers) == 30 + 120
    estimate = time_left(300, workers)
    assert estimate is not None
    assert estimate.seconds == 2 * 3600
    assert estimate.low < estimate.seconds < estimate.high


def test_without_enough_judgments_nothing_is_estimated() -> None:
    assert time_left(10, []) is None
    assert time_left(10, [Worker("bob", 4, 10)]) is None
    assert time_left(10, [Worker("bob", 5, 10)])
    assert time_left(0, [Worker("bob", 5, 10)]) is None


def test_the_interval_narrows_with_what_was_counted_and_never_below_the_chance_of_what_is_left() -> None:
    few, many, next_one = (
        time_left(left, [Worker("bob", judgments, 60)])
        for left, judgments in ((500, 6), (500, 600), (1, 600))
    )
    assert few
    assert many
    assert next_one
    assert many.high / many.low < 1.5 < few.high / few.low
    assert next_one.high / next_one.low > 10


def test_who_has_nothing_left_makes_no_more() -> None:
    bob, erin = Worker("bob", 60, 60, items_left=10), Worker("erin", 30, 60, items_left=100)
    estimate = time_left(60, [bob, erin])
    assert estimate
    assert estimate.seconds == pytest.approx(3600 * (1 / 6 + (60 - 15) / 30))
    assert time_left(110, [bob, erin]), "all that they have"
    assert time_left(111, [bob, erin]) is None, "more than they have"
    assert time_left(5, [replace(bob, items_left=0), replace(erin, judgments=0)]) is None


@pytest.mark.parametrize(("made", "left"), [(8, 40), (40, 40), (60, 400)])
def test_the_interval_holds_the_true_time_in_about_95_of_100_cases(made: int, left: int) -> None:
    rng = random.Random(made)
    held = 0
    for _ in range(400):
        took = sum(rng.expovariate(1) for _ in range(made))
        estimate = time_left(left, [Worker("bob", made, took)])
        assert estimate
        held += estimate.low <= 60 * sum(rng.expovariate(1) for _ in range(left)) <= estimate.high
    assert 0.91 <= held / 400 <= 0.99


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (7200, 10_800, "2 to 3 hours"),
        (7300, 10_900, "2 to 4 hours"),
        (1900, 7100, "31 to 119 minutes"),
        (1900, 16_000, "31 minutes to 5 hours"),
        (40, 170, "40 to 170 seconds"),
        (3, 3, "3 seconds"),
        (60, 60 * 50, "1 to 50 minutes"),
        (86_400 * 4, 86_400 * 9, "4 to 9 days"),
        (30, 86_400 * 9, "30 seconds to 9 days"),
        (11_000, 14_000, "3 to 4 hours"),
    ],
)
def test_a_range_of_durations_is_rounded_outwards(low: float, high: float, text: str) -> None:
    assert duration_range(low, high) == text
