"""Layout of static charts in percent of their box, which `plot.html` draws as SVG without a script.

Each point has a text and may have a link. The live curves of runs are drawn in the browser instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, floor, log10

from annotation.logic.translation import format_number

MAX_LABELS, MAX_LABEL_CHARACTERS = 8, 48
BAR_SHARE_OF_COLUMN = 0.64


@dataclass(frozen=True)
class Point:
    """A value with its bounds, the text that describes it, and a link to what it is made of.

    `label` names its column on the x axis, `name` the same in full; `x` is its place on a numeric one. `n` is of how many
    observations it is; `series` the line that it belongs to, where there are several. `radius` is in pixels.
    """

    value: float
    description: str
    label: str = ""
    x: float = 0.0
    low: float | None = None
    high: float | None = None
    href: str = ""
    radius: float = 4.5
    name: str = ""
    n: int | None = None
    series: str = ""


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high`, with ticks at the ends of `gaps` equal parts."""

    low: float
    high: float
    gaps: int = 2
    percent: bool = False
    name: str = ""

    def position(self, value: float) -> float:
        """Percent of the axis below a value; what is off the axis is placed at its end."""
        return 100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Value and label of each tick, from low to high."""
        values = [self.low + (self.high - self.low) * n / self.gaps for n in range(self.gaps + 1)]
        return [(value, self._label(value)) for value in values]

    def _label(self, value: float) -> str:
        if self.percent:
            return f"{100 * value:.0f}%"
        return format_number(value) if abs(value) >= 1000 else f"{value:.3g}"


def round_axis(low: float, high: float, name: str = "") -> Axis:
    """An axis around two values, from one round number to another, with two to six parts between round numbers."""
    span = high - low or abs(high) or 1.0
    size = 10 ** floor(log10(span / 4))
    step = next(times * size for times in (1, 2, 5, 10) if times * size >= span / 4 - 1e-12)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    last = max(last, first + 2)
    return Axis(first * step, last * step, last - first, name=name)


@dataclass(frozen=True)
class PlacedPoint:
    """A point with its position; `y`, `top` and `bottom` count from the top. Its column starts at `left`, its bar at `bar`;
    `series` is the number of its line, from 0."""

    point: Point
    x: float
    y: float
    top: float
    bottom: float
    left: float = 0.0
    bar: float = 0.0
    series: int = 0

    @property
    def height(self) -> float:
        """Height of its bar."""
        return round(100 - self.y, 2)


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Event:
    """An event on the time axis: `at` counts columns from the left edge, `x` is its position."""

    label: str
    description: str
    href: str = ""
    at: float = 0.0
    x: float = 0.0


@dataclass(frozen=True)
class Chart:
    """`kind` is line, bars or scatter. `column` and `bar` are widths; `lines` join two points each. `reference` is the position
    of the value that others are compared with. Values of an axis whose `…_percent` holds are shares."""

    kind: str
    points: list[PlacedPoint]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: Sequence[tuple[PlacedPoint, PlacedPoint]] = ()
    events: Sequence[Event] = ()
    column: float = 0.0
    bar: float = 0.0
    x_name: str = ""
    y_name: str = ""
    diagonal: bool = False
    reference: float | None = None
    x_percent: bool = False
    y_percent: bool = False
    series: Sequence[str] = ()


def column_chart(
    points: Sequence[Point | str],
    *,
    low: float,
    high: float,
    percent: bool = False,
    bars: bool = False,
    events: Sequence[Event] = (),
    x_name: str = "",
    y_name: str = "",
    reference: float | None = None,
) -> Chart:
    """Points in columns of equal width, joined by a line or as bars; of an empty column only its label.

    The y axis goes from `low` to `high`, with ticks at round numbers: of percentages every ten, or every twenty. `reference`: a
    value that others are compared with, which gets a line.
    """
    tenths = round((high - low) * 10)
    y = Axis(low, high, (tenths if tenths <= 5 else tenths // 2) if percent else 4, percent)
    column = 100 / (len(points) or 1)
    placed = [
        replace(
            _place(point, column * (n + 0.5), y),
            left=round(column * n, 3),
            bar=round(column * (n + (1 - BAR_SHARE_OF_COLUMN) / 2), 3),
        )
        for n, point in enumerate(points)
        if isinstance(point, Point)
    ]
    labels = _thinned([point.label if isinstance(point, Point) else point for point in points])
    return Chart(
        "bars" if bars else "line",
        placed,
        [Tick(round(column * (n + 0.5), 2), label) for n, label in enumerate(labels) if label],
        _y_ticks(y),
        [] if bars else list(pairwise(placed)),
        [replace(event, x=round(column * event.at, 2)) for event in events],
        round(column, 3),
        round(column * BAR_SHARE_OF_COLUMN, 3),
        x_name,
        y_name,
        reference=None if reference is None else round(100 - y.position(reference), 2),
        y_percent=percent,
    )


def scatter_chart(
    series: Sequence[Sequence[Point]], *, x: Axis, y: Axis, joined: bool = False, diagonal: bool = False
) -> Chart:
    """Points on two numeric axes; `joined` draws a line through each series, `diagonal` where both are equal."""
    placed = [
        [replace(_place(point, x.position(point.x), y), series=number) for point in points]
        for number, points in enumerate(series)
    ]
    return Chart(
        "scatter",
        [point for points in placed for point in points],
        [Tick(round(x.position(value), 2), label) for value, label in x.ticks()],
        _y_ticks(y),
        [line for points in placed for line in pairwise(points)] if joined else [],
        x_name=x.name,
        y_name=y.name,
        diagonal=diagonal,
        x_percent=x.percent,
        y_percent=y.percent,
        series=[points[0].series for points in series if points and points[0].series],
    )


def _place(point: Point, x: float, y: Axis) -> PlacedPoint:
    value, low, high = (
        round(100 - y.position(point.value if bound is None else bound), 2)
        for bound in (point.value, point.low, point.high)
    )
    return PlacedPoint(point, round(x, 2), value, top=high, bottom=low)


def _y_ticks(y: Axis) -> list[Tick]:
    return [Tick(round(100 - y.position(value), 2), label) for value, label in reversed(y.ticks())]


def _thinned(labels: Sequence[str]) -> list[str]:
    """The labels that there is room for, every n-th from the last one, which is always there; the others are empty."""
    longest = max(map(len, labels), default=0) or 1
    count = sum(map(bool, labels))
    every = ceil(count / min(MAX_LABELS, MAX_LABEL_CHARACTERS // longest)) or 1
    return [label if (len(labels) - 1 - n) % every == 0 else "" for n, label in enumerate(labels)]


def count_axis_high(values: Sequence[float]) -> float:
    """The end of an axis: at least 4, or 1, 2, 4, 8 or 10 times a power of ten, not below any value."""
    tallest = max(values, default=0.0)
    if tallest <= 4:
        return 4.0
    size = 10 ** floor(log10(tallest))
    return float(next(times * size for times in (1, 2, 4, 8, 10) if times * size >= tallest))


@dataclass(frozen=True)
class Bar:
    """One line of a horizontal bar chart; `length` is in percent of the longest, `percent` of the total."""

    label: str
    count: int
    length: float
    percent: int
    href: str = ""


def horizontal_bars(counts: Sequence[tuple[str, int, str]]) -> list[Bar]:
    """Bars of `(label, count, href)`, in their order."""
    longest, total = max((n for _, n, _ in counts), default=0) or 1, sum(n for _, n, _ in counts) or 1
    return [
        Bar(label, n, round(100 * n / longest, 1), round(100 * n / total), href) for label, n, href in counts
    ]


# --- intervals on one axis ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IntervalLine:
    """A share with its interval and the text that says them; `is_marked` has it stand out."""

    label: str
    value: float
    low: float
    high: float
    text: str
    href: str = ""
    is_marked: bool = False


@dataclass(frozen=True)
class PlacedLine:
    """A line with its positions on the common axis, in percent of it."""

    line: IntervalLine
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class IntervalChart:
    """Lines on one axis; `reference` is the position of the value that all are compared with."""

    lines: list[PlacedLine]
    ticks: list[Tick]
    reference: float | None


def interval_chart(lines: Sequence[IntervalLine], reference: float | None = None) -> IntervalChart:
    """Shares on one axis that begins and ends where the intervals do, at round percentages; the lowest value first."""
    bounds = [bound for line in lines for bound in (line.low, line.high)]
    bounds += [] if reference is None else [reference]
    axis = _share_axis(min(bounds, default=0.0), max(bounds, default=1.0))

    def at(value: float) -> float:
        return round(axis.position(value), 2)

    placed = [
        PlacedLine(line, at(line.value), at(line.low), at(line.high))
        for line in sorted(lines, key=lambda line: (line.value, line.label))
    ]
    ticks = [Tick(at(value), label) for value, label in axis.ticks()]
    return IntervalChart(placed, ticks, None if reference is None else at(reference))


def _share_axis(low: float, high: float) -> Axis:
    """From `low` to `high`, widened to tenths, or to fifths where that would be more than five parts."""
    for parts in (10, 5):
        # what is a tick but for rounding is one
        first, last = max(0, floor(low * parts + 1e-9)), min(parts, ceil(high * parts - 1e-9))
        if last - first < 2:
            first, last = (first, first + 2) if first + 2 <= parts else (parts - 2, parts)
        if last - first <= 5:
            break
    return Axis(first / parts, last / parts, last - first, percent=True)
