from __future__ import annotations

import pytest

from annotation.logic import svg_chart
from annotation.logic.svg_chart import Event, Mark


def test_marks_stand_evenly_and_high_values_at_the_top() -> None:
    plot = svg_chart.plot(
        [Mark("a", 0.5, "", low=0.4, high=0.6), Mark("b", 1.0, ""), Mark("c", 0.7, "")], low=0.4, high=1.0
    )
    assert [dot.x for dot in plot.dots] == [16.67, 50.0, 83.33]
    assert [dot.y for dot in plot.dots] == [83.33, 0.0, 50.0]
    assert (plot.dots[0].top, plot.dots[0].bottom) == (66.67, 100.0)
    assert [tick.label for tick in plot.ticks] == ["100%", "80%", "60%", "40%"]
    assert [(a.x, b.x) for a, b in plot.segments] == [(16.67, 50.0), (50.0, 83.33)]


@pytest.mark.parametrize(("lowest", "floor"), [(0.71, 0.5), (0.5, 0.5), (0.49, 0.4), (0.13, 0.0), (0.0, 0.0)])
def test_an_axis_of_shares_begins_at_a_half_or_below_all(lowest: float, floor: float) -> None:
    assert svg_chart.floor_of([0.9, lowest]) == pytest.approx(floor)


@pytest.mark.parametrize("low", [0.0, 0.2, 0.4, 0.5])
def test_its_lines_are_at_round_numbers(low: float) -> None:
    labels = [tick.label for tick in svg_chart.plot([Mark("a", 1, "")], low=low, high=1).ticks]
    assert all(int(label[:-1]) % 10 == 0 for label in labels)
    assert 4 <= len(labels) <= 6


@pytest.mark.parametrize(
    ("tallest", "ceiling"), [(0, 4), (3, 4), (5, 8), (9, 10), (11, 20), (399, 400), (801, 1000)]
)
def test_an_axis_of_counts_ends_at_a_round_number(tallest: int, ceiling: int) -> None:
    assert svg_chart.ceiling_of([1, tallest]) == ceiling


def test_of_many_marks_only_some_are_named_and_the_newest_always() -> None:
    plot = svg_chart.plot([Mark(str(n), 1, "") for n in range(30)], low=0, high=4, percent=False)
    assert [label for label in plot.labels if label] == ["1", "5", "9", "13", "17", "21", "25", "29"]
    wide = svg_chart.plot([Mark("20 Nov 14:00", 1, "")] * 30, low=0, high=4, percent=False)
    assert len([label for label in wide.labels if label]) == 4


def test_a_column_without_a_mark_keeps_its_place() -> None:
    plot = svg_chart.plot([Mark("a", 1, ""), "b", Mark("c", 1, ""), "d"], low=0, high=4, percent=False)
    assert [dot.x for dot in plot.dots] == [12.5, 62.5]
    assert plot.labels == ["a", "b", "c", "d"]
    assert (plot.column, plot.bar, plot.dots[1].left, plot.dots[1].bar) == (25, 16, 50, 54.5)


def test_what_happened_stands_between_the_marks() -> None:
    plot = svg_chart.plot(
        [Mark("a", 1, ""), Mark("b", 1, "")], low=0, high=1, events=[Event("v2", "", at=1.5)]
    )
    assert [event.x for event in plot.events] == [75]


def test_bars_are_measured_by_the_longest_and_shared_by_all() -> None:
    one, two = svg_chart.bars([("a", 30, "/a"), ("b", 10, "")])
    assert (one.percent, one.share, two.percent, two.share) == (100, 75, 33.3, 25)
    assert svg_chart.bars([]) == []
