"""Periods of whole days, chosen by name or by their first and last day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from annotation.logic.translation import gettext as _
from annotation.logic.translation import gettext_noop, ngettext

NAMES = {
    "this-week": gettext_noop("This week"),
    "last-week": gettext_noop("Last week"),
    "this-month": gettext_noop("This month"),
    "last-month": gettext_noop("Last month"),
}
MAX_DAYS = 366
DAY = timedelta(days=1)


class PeriodError(ValueError):
    """Why a period is refused, in a sentence; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Period:
    """The days from `first` to `last`. `name` is a key of `NAMES`, or empty if the days were entered."""

    first: date
    last: date
    name: str = ""


def named(name: str, today: date) -> Period:
    """A period of `NAMES`. Weeks begin on Mondays."""
    monday = today - timedelta(days=today.weekday())
    month = today.replace(day=1)
    if name == "last-week":
        return Period(monday - 7 * DAY, monday - DAY, name)
    if name == "this-month":
        return Period(month, ((month + 31 * DAY).replace(day=1)) - DAY, name)
    if name == "last-month":
        return Period((month - DAY).replace(day=1), month - DAY, name)
    return Period(monday, monday + 6 * DAY, "this-week")


def read(query: Mapping[str, str], today: date) -> Period:
    """From the parameters `period`, or `from` and `to` (`2026-11-20`); this week if there is none.

    Raises:
        PeriodError: a name or a date is unknown, or the period is empty or longer than a year.
    """
    if not query.get("from") and not query.get("to"):
        name = query.get("period") or "this-week"
        if name not in NAMES:
            raise PeriodError(
                "period",
                _("%(name)r is not a period: %(names)s.") % {"name": name, "names": ", ".join(NAMES)},
            )
        return named(name, today)
    first = _day("from", query.get("from", "")) or today
    last = _day("to", query.get("to", "")) or today
    if first > last:
        sentence = _("The last day, %(last)s, is before the first, %(first)s.")
        raise PeriodError("to", sentence % {"last": last, "first": first})
    if (last - first).days >= MAX_DAYS:
        sentence = ngettext("A period has at most %(n)s day.", "A period has at most %(n)s days.", MAX_DAYS)
        raise PeriodError("from", sentence % {"n": MAX_DAYS})
    return Period(first, last)


def _day(field: str, text: str) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise PeriodError(field, _("%(text)r is not a date such as 2026-11-20.") % {"text": text}) from None
    if not 2000 <= day.year <= 2200:
        raise PeriodError(field, _("%(day)s is not between the years 2000 and 2200.") % {"day": day})
    return day
