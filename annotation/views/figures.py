"""What the overseeing pages draw: figures with the words that say them and the items behind them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.formats import date_format

from annotation.logic import drawing
from annotation.logic.agreement import Interval, Tally
from annotation.logic.drawing import Bar, Mark, Plot
from annotation.models import Project


def items_url(project: Project, **search: object) -> str:
    """The list of items behind a figure."""
    query = urlencode({name: value for name, value in search.items() if value})
    return reverse("items", args=[project.slug]) + (f"?{query}" if query else "")


def days(at: datetime, step: str) -> dict[str, str]:
    """The part of an items list's address that says when."""
    last = at + timedelta(days=0 if step == "day" else 6)
    return {"from": f"{at:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}"}


def said(interval: Interval) -> str:
    """A share with its interval, in words."""
    return f"{interval.percent}%, between {100 * interval.low:.0f}% and {100 * interval.high:.0f}%"


def agreement_over_time(project: Project, tallies: dict[str, Tally], step: str = "week") -> Plot | None:
    """Percent agreement by day or week; None where there are fewer than two."""
    shares = [
        (datetime.fromisoformat(at), share)
        for at, tally in tallies.items()
        if (share := tally.share) is not None
    ]
    if len(shares) < 2:
        return None
    marks = [
        Mark(
            label=date_format(at, "j M"),
            value=share.value,
            low=share.low,
            high=share.high,
            says=f"{'Week of ' if step == 'week' else ''}{date_format(at, 'j F')}: {said(share)}, of {share.n} pairs",
            href=items_url(project, **days(at, step)),
        )
        for at, share in sorted(shares)
    ]
    return drawing.plot(marks, low=drawing.floor_of([share.low for _, share in shares]), high=1.0)


def work_over_time(project: Project, counts: list[tuple[datetime, int]], step: str) -> Plot | None:
    """Judgments by day or week."""
    if len(counts) < 2:
        return None
    marks = [
        Mark(
            label=date_format(at, "j M"),
            value=n,
            says=f"{'Week of ' if step == 'week' else ''}{date_format(at, 'j F')}: {n} judgment{'' if n == 1 else 's'}",
            href=items_url(project, **days(at, step)) if n else "",
        )
        for at, n in counts
    ]
    return drawing.plot(marks, low=0, high=drawing.ceiling_of([n for _, n in counts]), percent=False)


def seconds_over_time(speed: Iterable[tuple[datetime, int, float]]) -> Plot | None:
    """Median seconds by day."""
    known = list(speed)
    if len(known) < 2:
        return None
    marks = [
        Mark(
            label=date_format(at, "j M"),
            value=seconds,
            says=f"{date_format(at, 'j F')}: {seconds:.0f} seconds, {n} judgment{'' if n == 1 else 's'}",
        )
        for at, n, seconds in known
    ]
    return drawing.plot(marks, low=0, high=drawing.ceiling_of([m.value for m in marks]), percent=False)


def degree_bars(project: Project, degrees: list[tuple[str, str, int]]) -> list[Bar]:
    return drawing.bars(
        [(words, n, items_url(project, degree=value) if value else "") for value, words, n in degrees]
    )


def skip_bars(project: Project, skips: list[tuple[str, str, int]]) -> list[Bar]:
    return drawing.bars([(words, n, items_url(project, reason=value)) for value, words, n in skips])
