"""Charts of the analytics pages: positions, labels, descriptions and links to the items behind each point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.analytics.item_search import LEAST_AGREED
from annotation.analytics.time_steps import DAY, WEEK, TimeSpan, TimeStep
from annotation.logic import svg_chart
from annotation.logic.agreement import Interval, Tally
from annotation.logic.svg_chart import Bar, Chart, Event, Point, column_chart, horizontal_bars
from annotation.logic.translation import format_number
from annotation.models import Project

HOUR = timedelta(hours=1)
CHANCE = 0.5
"""How often two people order two answers the same way if both toss a coin."""


def items_url(project: Project, **search: object) -> str:
    """URL of the item list with a search."""
    query = urlencode({name: value for name, value in search.items() if value})
    return reverse("items", args=[project.slug]) + (f"?{query}" if query else "")


def _time_range(at: datetime, step: TimeStep) -> dict[str, str]:
    """Query parameters of the item list for one step: dates, or times where the step is shorter than a day."""
    end = at + step.width
    if step.within_a_day:
        return {"from": f"{at:%Y-%m-%dT%H:%M}", "to": f"{end:%Y-%m-%dT%H:%M}"}
    return {"from": f"{at:%Y-%m-%d}", "to": f"{end - DAY:%Y-%m-%d}"}


def _label(at: datetime, step: TimeStep) -> str:
    """Short label for the axis: time, date, or both."""
    if step.width < HOUR:
        return f"{at:%H:%M}"
    return date_format(at, "j M H:i" if step.within_a_day else "j M" if step.width <= WEEK.width else "j M Y")


def _step_text(at: datetime, step: TimeStep) -> str:
    """The step's time in full: "20 November 2026, 14:00 to 14:15 Europe/Berlin"."""
    if step.within_a_day:
        return _("%(start)s to %(end)s %(zone)s") % {
            "start": date_format(at, "j F Y, H:i"),
            "end": f"{at + step.width:%H:%M}",
            "zone": timezone.get_current_timezone_name(),
        }
    if step.width == DAY:
        return date_format(at, "j F Y")
    return _("%(start)s to %(end)s") % {
        "start": date_format(at, "j F"),
        "end": date_format(at + step.width - DAY, "j F Y"),
    }


def _time_name(step: TimeStep) -> str:
    """The name of a time axis."""
    if step.within_a_day:
        return _("time, %(zone)s") % {"zone": timezone.get_current_timezone_name()}
    return _("day") if step.width == DAY else _("first day of the period")


def interval_text(interval: Interval) -> str:
    """A share with its 95% interval, in words."""
    return _("%(share)s%%, between %(low)s%% and %(high)s%%") % {
        "share": interval.percent,
        "low": f"{100 * interval.low:.0f}",
        "high": f"{100 * interval.high:.0f}",
    }


def agreement_over_time(
    project: Project, tallies: dict[str, Tally], step: TimeStep, events: Sequence[tuple[datetime, Event]] = ()
) -> Chart | None:
    """Percent agreement over time, with the `events` in its period; None with fewer than two points."""
    shares = {
        datetime.fromisoformat(at): share
        for at, tally in tallies.items()
        if (share := tally.share) is not None
    }
    if len(shares) < 2:
        return None
    span = TimeSpan(min(shares), max(shares))
    points = [
        Point(
            label=_label(at, step),
            value=shares[at].value,
            low=shares[at].low,
            high=shares[at].high,
            description=_("%(time)s: %(share)s, of %(n)s pairs")
            % {
                "time": _step_text(at, step),
                "share": interval_text(shares[at]),
                "n": format_number(shares[at].n),
            },
            href=items_url(project, sort=LEAST_AGREED, **_time_range(at, step)),
            name=_step_text(at, step),
            n=shares[at].n,
        )
        if at in shares
        else _label(at, step)
        for at in span.starts(step, fewest=1)
    ]
    return column_chart(
        points,
        low=0.0,
        high=1.0,
        percent=True,
        x_name=_time_name(step),
        y_name=_("pairs ordered the same way"),
        reference=CHANCE,
        events=[
            replace(event, at=(at - span.first) / step.width)
            for at, event in events
            if span.first < at < span.last + step.width
        ],
    )


def judgments_over_time(project: Project, counts: list[tuple[datetime, int]], step: TimeStep) -> Chart | None:
    """Judgments over time; None where there are none."""
    if not counts:
        return None
    points = [
        Point(
            label=_label(at, step),
            value=n,
            description=ngettext("%(time)s: %(n)s judgment", "%(time)s: %(n)s judgments", n)
            % {"time": _step_text(at, step), "n": format_number(n)},
            href=items_url(project, **_time_range(at, step)) if n else "",
            name=_step_text(at, step),
        )
        for at, n in counts
    ]
    return column_chart(
        points,
        low=0,
        high=svg_chart.count_axis_high([n for _at, n in counts]),
        bars=True,
        x_name=_time_name(step),
        y_name=_("judgments"),
    )


def seconds_over_time(speed: Iterable[tuple[datetime, int, float]]) -> Chart | None:
    """Median seconds by day; None with fewer than two days."""
    days = list(speed)
    if len(days) < 2:
        return None
    points = [
        Point(
            label=date_format(at, "j M"),
            value=seconds,
            description=ngettext(
                "%(day)s: %(seconds)s seconds, %(n)s judgment",
                "%(day)s: %(seconds)s seconds, %(n)s judgments",
                n,
            )
            % {"day": date_format(at, "j F"), "seconds": f"{seconds:.0f}", "n": n},
            name=date_format(at, "j F Y"),
            n=n,
        )
        for at, n, seconds in days
    ]
    return column_chart(
        points,
        low=0,
        high=svg_chart.count_axis_high([point.value for point in points]),
        x_name=_("day"),
        y_name=_("seconds per item, median"),
    )


def degree_bars(project: Project, degrees: list[tuple[str, str, int]]) -> list[Bar]:
    return horizontal_bars(
        [(words, n, items_url(project, degree=value) if value else "") for value, words, n in degrees]
    )


def skip_bars(project: Project, skips: list[tuple[str, str, int]]) -> list[Bar]:
    return horizontal_bars([(words, n, items_url(project, reason=value)) for value, words, n in skips])
