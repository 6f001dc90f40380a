"""Time steps of charts, chosen by the length of the period: an hour is shown by the minute, a year by the week."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.analytics.figures import figure
from annotation.analytics.filters import Filters
from annotation.models import Project

ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday. Steps are counted from here, so that weeks start on Mondays and days at midnight."""

DAY = timedelta(days=1)


def wall_clock(column: str) -> str:
    """SQL: a time as the clock of the zone `%(zone)s` shows it. Charts compute with such times, which they hold as if they
    were UTC: a day is then always a step of 24 hours, also where clocks change."""
    return f"timezone('UTC', timezone(%(zone)s, {column}))"


def on_wall_clock(at: datetime) -> datetime:
    """The same in Python, in the current zone."""
    return timezone.localtime(at).replace(tzinfo=UTC)


@dataclass(frozen=True)
class TimeStep:
    """The width of one bar of a chart. `name`: in English."""

    name: str
    width: timedelta

    def start(self, at: datetime) -> datetime:
        """Start of the step that contains `at`."""
        return at - (at - ORIGIN) % self.width

    @property
    def label(self) -> str:
        """The name as it follows "per": day, 5 minutes."""
        return _(self.name)

    @property
    def within_a_day(self) -> bool:
        """Whether a label needs the time of day."""
        return self.width < DAY

    @property
    def values(self) -> dict[str, Any]:
        """SQL parameters: `date_bin(%(step)s, …, %(origin)s)` of a `wall_clock` computes `start`."""
        return {"step": self.width, "origin": ORIGIN, "zone": str(timezone.get_current_timezone())}


WEEK = TimeStep(gettext_noop("week"), timedelta(days=7))
TIME_STEPS = (
    TimeStep(gettext_noop("minute"), timedelta(minutes=1)),
    TimeStep(gettext_noop("5 minutes"), timedelta(minutes=5)),
    TimeStep(gettext_noop("15 minutes"), timedelta(minutes=15)),
    TimeStep(gettext_noop("hour"), timedelta(hours=1)),
    TimeStep(gettext_noop("6 hours"), timedelta(hours=6)),
    TimeStep(gettext_noop("day"), DAY),
    WEEK,
    TimeStep(gettext_noop("4 weeks"), timedelta(days=28)),
)
STEPS_BY_NAME = {step.name: step for step in TIME_STEPS}
# each step is at most seven times the one before: where one gives too many bars, the next gives more than MAX_STEPS / 7
MAX_STEPS, MIN_STEPS = 60, 8
MAX_AGREEMENT_STEPS = 31
"""For agreement, which needs more judgments per step to be meaningful."""


@dataclass(frozen=True)
class TimeSpan:
    """The times of the first and the last judgment that match some filters, on the wall clock."""

    first: datetime
    last: datetime

    def step(self, most: int = MAX_STEPS) -> TimeStep:
        """The finest step with at most `most` bars; the coarsest where all have more."""
        return next((step for step in TIME_STEPS if self.count(step) <= most), TIME_STEPS[-1])

    def count(self, step: TimeStep) -> int:
        """The number of steps from the first judgment's to the last one's."""
        return (step.start(self.last) - step.start(self.first)) // step.width + 1

    def starts(self, step: TimeStep, fewest: int = MIN_STEPS) -> list[datetime]:
        """The start of every step up to the last judgment, empty ones included; at least `fewest`, some of them before the first
        judgment."""
        last = step.start(self.last)
        return [last - step.width * n for n in reversed(range(max(fewest, self.count(step))))]


JUDGMENT_SPAN = """
SELECT min(judgment.created_at), max(judgment.created_at)
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE judgment.project_id = %(project)s {where}
"""


@figure
def judgment_span(project: Project, filters: Filters) -> TimeSpan | None:
    """The span of the judgments that match; None where there are none. One query."""
    where, values = filters.where_annotator()
    with connection.cursor() as cursor:
        cursor.execute(JUDGMENT_SPAN.format(where=where), values | {"project": project.pk})
        first, last = cursor.fetchone()
    return TimeSpan(on_wall_clock(first), on_wall_clock(last)) if first else None
