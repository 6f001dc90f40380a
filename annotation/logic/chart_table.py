"""What a static chart draws, as a table and as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from annotation.logic.csv_text import write_rows
from annotation.logic.svg_chart import Bar, Chart, IntervalChart, Point
from annotation.logic.translation import format_digits, format_percent
from annotation.logic.translation import gettext as _

Value = float | str | None


@dataclass(frozen=True)
class Column:
    """One column of a chart's table: its head, and a point's value in it."""

    head: str
    value: Callable[[Point], Value]
    percent: bool = False

    def text(self, point: Point) -> str:
        return _text(self.value(point), percent=self.percent)


def columns_of(chart: Chart) -> list[Column]:
    """Those that some point has a value in."""
    points = [placed.point for placed in chart.points]
    is_scatter = chart.kind == "scatter"
    all_columns = [
        Column(_("Series"), lambda point: point.series),
        Column(chart.x_name or _("x"), lambda point: point.x, chart.x_percent)
        if is_scatter
        else Column(chart.x_name or _("x"), lambda point: point.name or point.label),
        Column(chart.y_name or _("Value"), lambda point: point.value, chart.y_percent),
        Column(_("Interval from"), lambda point: point.low, chart.y_percent),
        Column(_("to"), lambda point: point.high, chart.y_percent),
        Column(_("Number"), lambda point: point.n),
    ]
    return [
        column for column in all_columns if any(column.value(point) not in (None, "") for point in points)
    ]


def table(chart: Chart) -> tuple[list[str], list[list[str]]]:
    """The heads and the rows, as texts: shares in percent."""
    columns = columns_of(chart)
    return [column.head for column in columns], [
        [column.text(placed.point) for column in columns] for placed in chart.points
    ]


def csv_uri(chart: Chart) -> str:
    """The same as a `data:` URI of CSV, for a link that downloads it; numbers as they are, shares from 0 to 1."""
    columns = columns_of(chart)
    rows = [[column.value(placed.point) for column in columns] for placed in chart.points]
    return _csv_uri([column.head for column in columns], rows)


def interval_table(chart: IntervalChart, reference: str = "") -> tuple[list[str], list[list[str]]]:
    """The heads and the rows of a chart of intervals, as texts. reference: what its line is, which has a row of its own."""
    heads, rows = _interval_rows(chart, reference)
    return heads, [
        [str(label), *(_text(share, percent=True) for share in shares), _text(n, percent=False)]
        for label, *shares, n in rows
    ]


def interval_csv_uri(chart: IntervalChart, reference: str = "") -> str:
    """The same as a `data:` URI of CSV, likewise. A name that a spreadsheet would take for a formula is marked as a text."""
    heads, rows = _interval_rows(chart, reference)
    return _csv_uri(heads, rows)


def _interval_rows(chart: IntervalChart, reference: str) -> tuple[list[str], list[list[Value]]]:
    heads = [_("Name"), _("Value"), _("Interval from"), _("to"), _("Number")]
    lines = [placed.line for placed in chart.lines]
    rows: list[list[Value]] = [[line.label, line.value, line.low, line.high, line.n] for line in lines]
    if chart.reference_value is not None:
        rows.append([str(reference), chart.reference_value, None, None, None])
    return heads, rows


def bars_csv_uri(bars: Sequence[Bar]) -> str:
    """The counts of a chart of horizontal bars, likewise."""
    return _csv_uri([_("Value"), _("Number")], [[bar.label, bar.count] for bar in bars])


def _text(value: Value, *, percent: bool) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return format_percent(value, 1) if percent else format_digits(value, 6)


def _csv_uri(heads: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    rounded = ([round(value, 6) if isinstance(value, float) else value for value in row] for row in rows)
    return "data:text/csv;charset=utf-8," + quote("\ufeff" + write_rows([heads, *rounded]))
