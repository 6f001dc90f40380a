"""Layout of small charts in percent of their box, which pages draw as SVG without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil, floor, log10


@dataclass(frozen=True)
class Mark:
    """One point of a chart: its label on the axis, its value with bounds, its tooltip, and its link."""

    label: str
    value: float
    says: str
    low: float | None = None
    high: float | None = None
    href: str = ""


@dataclass(frozen=True)
class Dot:
    """The position of a mark; `y` counts from the top. Its column starts at `left`, its bar at `bar`."""

    mark: Mark
    x: float
    y: float
    top: float
    bottom: float
    left: float
    bar: float

    @property
    def height(self) -> float:
        return round(100 - self.y, 2)


@dataclass(frozen=True)
class Tick:
    y: float
    label: str


@dataclass(frozen=True)
class Event:
    """An event on the time axis: `at` counts columns from the left edge, `x` is its position."""

    label: str
    says: str
    href: str = ""
    at: float = 0.0
    x: float = 0.0


@dataclass(frozen=True)
class Plot:
    """A laid-out chart. `labels` has one label a column, empty if there is no room; `column` and `bar` are widths."""

    dots: list[Dot]
    ticks: list[Tick]
    labels: list[str]
    column: float
    bar: float
    events: list[Event] = field(default_factory=list)

    @property
    def segments(self) -> list[tuple[Dot, Dot]]:
        return list(pairwise(self.dots))


MAX_LABELS, MAX_LABEL_CHARACTERS = 8, 48
BAR = 0.64
"""The width of a bar, as a share of its column."""


def plot(
    marks: Sequence[Mark | str],
    *,
    low: float,
    high: float,
    percent: bool = True,
    events: Sequence[Event] = (),
) -> Plot:
    """Lay marks out in columns of equal width, with values from `low`, at the bottom, to `high` and grid lines at round
    numbers: for shares every ten percent, or every twenty. A column without a mark is given by its label."""

    def y(value: float) -> float:
        return round(100 * (high - min(max(value, low), high)) / (high - low), 2)

    column = 100 / (len(marks) or 1)
    dots = [
        Dot(
            mark,
            x=round(column * (index + 0.5), 2),
            y=y(mark.value),
            top=y(mark.value if mark.high is None else mark.high),
            bottom=y(mark.value if mark.low is None else mark.low),
            left=round(column * index, 3),
            bar=round(column * (index + (1 - BAR) / 2), 3),
        )
        for index, mark in enumerate(marks)
        if isinstance(mark, Mark)
    ]
    gaps = 4
    if percent:
        tenths = round((high - low) * 10)
        gaps = tenths if tenths <= 5 else tenths // 2
    lines = [low + (high - low) * n / gaps for n in reversed(range(gaps + 1))]
    return Plot(
        dots,
        [Tick(y(line), f"{100 * line:.0f}%" if percent else f"{line:g}") for line in lines],
        _thinned([mark.label if isinstance(mark, Mark) else mark for mark in marks]),
        round(column, 3),
        round(column * BAR, 3),
        [replace(event, x=round(column * event.at, 2)) for event in events],
    )


def _thinned(labels: Sequence[str]) -> list[str]:
    """The labels that there is room for, every n-th from the last one, which is always there."""
    longest = max(map(len, labels), default=0) or 1
    every = ceil(len(labels) / min(MAX_LABELS, MAX_LABEL_CHARACTERS // longest)) or 1
    return [label if (len(labels) - 1 - index) % every == 0 else "" for index, label in enumerate(labels)]


def floor_of(values: Sequence[float]) -> float:
    """The start of an axis of shares: 50 percent if no value is lower, else 0, 20 or 40 percent."""
    lowest = min(values, default=1.0)
    return 0.5 if lowest >= 0.5 else max(0.0, floor(lowest * 5) / 5)


def ceiling_of(values: Sequence[float]) -> float:
    """The end of an axis: at least 4, or 1, 2, 4, 8 or 10 times a power of ten, not below any value."""
    tallest = max(values, default=0.0)
    if tallest <= 4:
        return 4.0
    size = 10 ** floor(log10(tallest))
    return float(next(times * size for times in (1, 2, 4, 8, 10) if times * size >= tallest))


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart; `percent` is of the longest."""

    label: str
    count: int
    percent: float
    share: int
    href: str = ""


def bars(counts: Sequence[tuple[str, int, str]]) -> list[Bar]:
    """From `(label, count, href)`, in their order. `share` is the percentage of all."""
    longest, total = max((n for _, n, _ in counts), default=0) or 1, sum(n for _, n, _ in counts) or 1
    return [
        Bar(label, n, round(100 * n / longest, 1), round(100 * n / total), href) for label, n, href in counts
    ]
