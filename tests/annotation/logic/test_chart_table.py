from __future__ import annotations

import csv
import io
from urllib.parse import unquote

from annotation.logic.chart_table import bars_csv_uri, csv_uri, interval_csv_uri, interval_table, table
from annotation.logic.svg_chart import (
    Axis,
    IntervalLine,
    Point,
    column_chart,
    horizontal_bars,
    interval_chart,
    scatter_chart,
)


def rows_of(uri: str) -> list[list[str]]:
    kind, _, text = uri.partition(",")
    assert kind == "data:text/csv;charset=utf-8"
    return list(csv.reader(io.StringIO(unquote(text).removeprefix("\ufeff"))))


def test_a_column_chart_has_a_row_for_each_point_with_what_it_draws() -> None:
    points = [
        Point(0.5, "", "3 Nov", low=0.4, high=0.625, name="3 November 2026", n=1200),
        "4 Nov",
        Point(2 / 3, "", "5 Nov", name="5 November 2026", n=9),
    ]
    chart = column_chart(points, low=0, high=1, percent=True, x_name="day", y_name="agreement", reference=0.5)
    assert table(chart) == (
        ["day", "agreement", "Interval from", "to", "Number"],
        [["3 November 2026", "50.0%", "40.0%", "62.5%", "1,200"], ["5 November 2026", "66.7%", "", "", "9"]],
    )
    assert rows_of(csv_uri(chart)) == [
        ["day", "agreement", "Interval from", "to", "Number"],
        ["3 November 2026", "0.5", "0.4", "0.625", "1200"],
        ["5 November 2026", "0.666667", "", "", "9"],
    ]
    assert chart.reference == 50


def test_a_chart_of_several_lines_names_them() -> None:
    series = [
        [Point(1, "", x=0, series="run 1"), Point(3, "", x=4, series="run 1")],
        [Point(5.25, "", x=2, series="run 2")],
    ]
    chart = scatter_chart(series, x=Axis(0, 4, name="KL"), y=Axis(1, 5, name="reward"), joined=True)
    assert rows_of(csv_uri(chart)) == [
        ["Series", "KL", "reward"],
        ["run 1", "0", "1"],
        ["run 1", "4", "3"],
        ["run 2", "2", "5.25"],
    ]
    assert chart.series == ["run 1", "run 2"]
    assert [placed.series for placed in chart.points] == [0, 0, 1]


def test_commas_quotes_and_ampersands_come_back_as_they_were() -> None:
    uri = bars_csv_uri(horizontal_bars([('a, "b" & c#', 30, "")]))
    assert rows_of(uri) == [["Value", "Number"], ['a, "b" & c#', "30"]]
    assert not {'"', "&", "#", " "} & set(uri)


def test_intervals_have_a_row_each_and_one_for_what_they_are_compared_with() -> None:
    lines = [
        IntervalLine("bob", 2 / 3, 0.5, 0.8, "50–80%", n=1200),
        IntervalLine("+1", 0.5, 0.25, 0.75, "25–75%"),
    ]
    chart = interval_chart(lines, 0.6)
    assert interval_table(chart, "All together.") == (
        ["Name", "Value", "Interval from", "to", "Number"],
        [
            ["+1", "50.0%", "25.0%", "75.0%", ""],
            ["bob", "66.7%", "50.0%", "80.0%", "1,200"],
            ["All together.", "60.0%", "", "", ""],
        ],
    )
    assert rows_of(interval_csv_uri(chart, "All together."))[1:] == [
        ["'+1", "0.5", "0.25", "0.75", ""],
        ["bob", "0.666667", "0.5", "0.8", "1200"],
        ["All together.", "0.6", "", "", ""],
    ]
    assert len(interval_table(interval_chart(lines))[1]) == 2


def test_a_name_is_no_formula() -> None:
    assert rows_of(bars_csv_uri(horizontal_bars([("=1+1", 30, "")])))[1] == ["'=1+1", "30"]
