"""Where the parts of a small chart stand, in percent of its box: pages draw them as SVG, without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10


@dataclass(frozen=True)
class Mark:
    """One point of a chart: where it is named on the axis, its value with bounds, what it says, and where it leads."""

    label: str
    value: float
    says: str
    low: float | None = None
    high: float | None = None
    href: str = ""


@dataclass(frozen=True)
class Dot:
    """A mark's place; `y` counts from the top."""

    mark: Mark
    x: float
    y: float
    top: float
    bottom: float
    shows_label: bool


@dataclass(frozen=True)
class Tick:
    y: float
    label: str


@dataclass(frozen=True)
class Plot:
    dots: list[Dot]
    ticks: list[Tick]

    @property
    def segments(self) -> list[tuple[Dot, Dot]]:
        return list(pairwise(self.dots))


MAX_LABELS = 8


def plot(marks: Sequence[Mark], *, low: float, high: float, percent: bool = True) -> Plot:
    """Marks side by side, evenly; values from `low`, at the bottom, to `high`, with lines across at round numbers: of
    shares every ten percent, or every twenty."""

    def y(value: float) -> float:
        return round(100 * (high - min(max(value, low), high)) / (high - low), 2)

    every = ceil(len(marks) / MAX_LABELS) or 1
    dots = [
        Dot(
            mark,
            x=round(100 * (place + 0.5) / len(marks), 2),
            y=y(mark.value),
            top=y(mark.value if mark.high is None else mark.high),
            bottom=y(mark.value if mark.low is None else mark.low),
            # counted from the newest, which always has its name
            shows_label=(len(marks) - 1 - place) % every == 0,
        )
        for place, mark in enumerate(marks)
    ]
    gaps = 4
    if percent:
        tenths = round((high - low) * 10)
        gaps = tenths if tenths <= 5 else tenths // 2
    lines = [low + (high - low) * n / gaps for n in reversed(range(gaps + 1))]
    return Plot(dots, [Tick(y(line), f"{100 * line:.0f}%" if percent else f"{line:g}") for line in lines])


def floor_of(values: Sequence[float]) -> float:
    """Where an axis of shares may begin: at a half, or else below all values, at 0, 20 or 40 percent."""
    lowest = min(values, default=1.0)
    return 0.5 if lowest >= 0.5 else max(0.0, floor(lowest * 5) / 5)


def ceiling_of(values: Sequence[float]) -> float:
    """A round number that is not below any of them: 1, 2, 4, 8 or 10 times a power of ten."""
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
