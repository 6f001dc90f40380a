"""The statistics of the active-learning benchmark."""

from __future__ import annotations

import pytest

from benchmarks.active_learning import Accuracy, compare, count_ordered, interval, relative_cost


def test_it_counts_the_pairs_that_are_in_order_of_those_that_differ() -> None:
    # worth 3 > 1 = 1: two pairs; the model is right of the first answer over the second, not over the third
    assert count_ordered([0.0, -1.0, 2.0], [3.0, 1.0, 1.0]) == (1, 2)
    assert count_ordered([0.0, 0.0], [1.0, 2.0]) == (0, 1)  # no order is not the right one


def test_what_is_needed_is_read_from_lines_over_the_logarithm_of_judgments() -> None:
    # an even draw rises by 0.1 with each doubling; ours is 0.1 ahead throughout, so it is there one doubling earlier
    even = [(100.0, 0.5), (200.0, 0.6), (400.0, 0.7), (800.0, 0.8)]
    assert relative_cost([(x, y + 0.1) for x, y in even], even) == pytest.approx(0.5)
    assert relative_cost([(x, y - 0.1) for x, y in even], even) == pytest.approx(2.0)
    # ours rises by 0.2: it is at 0.8 after one and a half doublings
    assert relative_cost([(x, 0.5 + 2 * (y - 0.5)) for x, y in even], even) == pytest.approx(2**1.5 / 8)
    assert relative_cost([(100.0, 0.7), (200.0, 0.6)], even) is None


def test_the_interval_is_students() -> None:
    mean, low, high = interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    # t of 5 degrees is 2.571, the standard error 1.8708 / sqrt(6)
    assert mean == 3.5
    assert high - mean == pytest.approx(2.571 * 1.8708 / 6**0.5, rel=0.02)
    assert mean - low == pytest.approx(high - mean)


def test_strategies_are_compared_with_the_even_draw_that_began_alike() -> None:
    def draw(start: float, rise: float) -> list[Accuracy]:
        return [Accuracy(100 * 2**n, start + rise * n, start + rise * n) for n in range(3)]

    even, twice = ([draw(start, rise) for start in (0.60, 0.62)] for rise in (0.05, 0.10))
    rows = {row["strategy"]: row["by_people"] for row in compare({"uniform": even, "twice": twice})}
    assert rows["uniform"]["ahead"] == (0.0, 0.0, 0.0)
    assert rows["uniform"]["share"] == pytest.approx(1.0)
    assert rows["twice"]["ahead"][0] == pytest.approx((0.05 + 0.10) / 2)
    assert rows["twice"]["share"] == pytest.approx(0.5)
    assert rows["twice"]["share_interval"] == pytest.approx((0.5, 0.5))
