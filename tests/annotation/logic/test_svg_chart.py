from __future__ import annotations

import pytest

from annotation.logic import svg_chart
from annotation.logic.svg_chart import Axis, Event, Point, column_chart, scatter_chart


def test_points_are_spaced_evenly_with_high_values_at_the_top() -> None:
    chart = column_chart(
        [Point(0.5, "", "a", low=0.4, high=0.6), Point(1.0, "", "b"), Point(0.7, "", "c")],
        low=0.4,
        high=1.0,
        percent=True,
    )
    assert [point.x for point in chart.points] == [16.67, 50.0, 83.33]
    assert [point.y for point in chart.points] == [83.33, 0.0, 50.0]
    assert (chart.points[0].top, chart.points[0].bottom) == (66.67, 100.0)
    assert [tick.label for tick in chart.y_ticks] == ["100%", "80%", "60%", "40%"]
    assert [(a.x, b.x) for a, b in chart.lines] == [(16.67, 50.0), (50.0, 83.33)]


@pytest.mark.parametrize("low", [0.0, 0.2, 0.4, 0.5])
def test_its_lines_are_at_round_numbers(low: float) -> None:
    labels = [tick.label for tick in column_chart([Point(1, "", "a")], low=low, high=1, percent=True).y_ticks]
    assert all(int(label[:-1]) % 10 == 0 for label in labels)
    assert 4 <= len(labels) <= 6


@pytest.mark.parametrize(
    ("tallest", "ceiling"), [(0, 4), (3, 4), (5, 8), (9, 10), (11, 20), (399, 400), (801, 1000)]
)
def test_an_axis_of_counts_ends_at_a_round_number(tallest: int, ceiling: int) -> None:
    assert svg_chart.count_axis_high([1, tallest]) == ceiling


def test_of_many_columns_only_some_are_labelled_and_the_newest_always() -> None:
    chart = column_chart([Point(1, "", str(n)) for n in range(30)], low=0, high=4)
    assert [tick.label for tick in chart.x_ticks] == ["1", "5", "9", "13", "17", "21", "25", "29"]
    wide = column_chart([Point(1, "", "20 Nov 14:00")] * 30, low=0, high=4)
    assert len(wide.x_ticks) == 4


def test_a_column_without_a_point_keeps_its_place() -> None:
    chart = column_chart([Point(1, "", "a"), "b", Point(1, "", "c"), "d"], low=0, high=4)
    assert [point.x for point in chart.points] == [12.5, 62.5]
    assert [tick.label for tick in chart.x_ticks] == ["a", "b", "c", "d"]
    assert (chart.column, chart.bar, chart.points[1].left, chart.points[1].bar) == (25, 16, 50, 54.5)


def test_an_event_is_placed_between_the_points() -> None:
    chart = column_chart(
        [Point(1, "", "a"), Point(1, "", "b")], low=0, high=1, events=[Event("v2", "", at=1.5)]
    )
    assert [event.x for event in chart.events] == [75]


def test_bars_have_their_length_from_the_longest_and_their_percentage_from_all() -> None:
    one, two = svg_chart.horizontal_bars([("a", 30, "/a"), ("b", 10, "")])
    assert (one.length, one.percent, two.length, two.percent) == (100, 75, 33.3, 25)
    assert svg_chart.horizontal_bars([]) == []


def test_a_scatter_chart_has_numeric_axes_and_a_line_a_series() -> None:
    series = [[Point(1, "", x=0), Point(3, "", x=4)], [Point(5, "", x=2), Point(9, "", x=2)]]
    chart = scatter_chart(series, x=Axis(0, 4, name="x"), y=Axis(1, 5), joined=True)
    assert [(point.x, point.y) for point in chart.points] == [(0, 100), (100, 50), (50, 0), (50, 0)]
    assert [(tick.at, tick.label) for tick in chart.x_ticks] == [(0, "0"), (50, "2"), (100, "4")]
    assert [(tick.at, tick.label) for tick in chart.y_ticks] == [(0, "5"), (50, "3"), (100, "1")]
    assert [(a.x, b.x) for a, b in chart.lines] == [(0, 100), (50, 50)]
    assert not scatter_chart(series, x=Axis(0, 4), y=Axis(1, 5)).lines


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 1.14, ["0", "0.5", "1", "1.5"]),
        (-0.503, 1.73, ["-1", "0", "1", "2"]),
        (3, 3, ["3", "4", "5"]),
        (0, 0, ["0", "0.5", "1"]),
        (-7, -6.2, ["-7", "-6.8", "-6.6", "-6.4", "-6.2"]),
    ],
)
def test_a_round_axis_has_both_values_between_round_numbers(
    low: float, high: float, labels: list[str]
) -> None:
    axis = svg_chart.round_axis(low, high, "reward")
    assert [label for _value, label in axis.ticks()] == labels
    assert axis.low <= low + 1e-9
    assert axis.high >= high - 1e-9


def test_a_chart_marks_what_its_values_are_compared_with() -> None:
    assert column_chart([Point(0.6, "", "a")], low=0, high=1, percent=True, reference=0.5).reference == 50
    assert column_chart([Point(0.6, "", "a")], low=0, high=1, percent=True).reference is None


def test_large_numbers_on_an_axis_are_written_in_full() -> None:
    chart = column_chart([Point(1200, "", "Monday")], low=0, high=svg_chart.count_axis_high([1200]))
    assert [tick.label for tick in chart.y_ticks] == ["2,000", "1,500", "1,000", "500", "0"]
