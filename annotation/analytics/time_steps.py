"""How charts over time are cut: into steps that follow from how long there was work, so that an hour shows its minutes and a
year its weeks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from annotation.analytics.filters import Filters
from annotation.models import Project

ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: steps are counted from here, so that weeks begin on Mondays and days at midnight (UTC)."""

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Step:
    """One bar's time. `name` goes after "per": a day, 5 minutes."""

    name: str
    width: timedelta

    def start(self, at: datetime) -> datetime:
        """When the step began in which `at` lies."""
        return at - (at - ORIGIN) % self.width

    @property
    def within_a_day(self) -> bool:
        """Whether it takes a time of day to say when it was."""
        return self.width < DAY

    @property
    def values(self) -> dict[str, Any]:
        """For SQL: `date_bin(%(step)s, …, %(origin)s)` is `start`."""
        return {"step": self.width, "origin": ORIGIN}


WEEK = Step("week", timedelta(days=7))
STEPS = (
    Step("minute", timedelta(minutes=1)),
    Step("5 minutes", timedelta(minutes=5)),
    Step("15 minutes", timedelta(minutes=15)),
    Step("hour", timedelta(hours=1)),
    Step("6 hours", timedelta(hours=6)),
    Step("day", DAY),
    WEEK,
    Step("4 weeks", timedelta(days=28)),
)
# each step is at most seven of the one before, so that where one gives too many bars the next gives more than MOST / 7
MOST, FEWEST = 60, 8
MOST_POINTS = 31
"""Of agreement, which needs more judgments a step before it says something."""


@dataclass(frozen=True)
class Span:
    """When the first and the last judgment was made, of those that filters let through."""

    first: datetime
    last: datetime

    def step(self, most: int = MOST) -> Step:
        """The finest step of which there are not more than `most`; the coarsest where all give more."""
        return next((step for step in STEPS if len(self.starts(step, fewest=1)) <= most), STEPS[-1])

    def starts(self, step: Step, fewest: int = FEWEST) -> list[datetime]:
        """When each step began, those without any judgment included, up to the last judgment's; where they are few, some
        before the first judgment too."""
        last = step.start(self.last)
        count = max(fewest, (last - step.start(self.first)) // step.width + 1)
        return [last - step.width * n for n in reversed(range(count))]


SPAN = """
SELECT min(judgment.created_at), max(judgment.created_at)
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE item.project_id = %(project)s {where}
"""


def span(project: Project, filters: Filters) -> Span | None:
    """None where nothing was judged. One query."""
    where, values = filters.where_theirs()
    with connection.cursor() as cursor:
        cursor.execute(SPAN.format(where=where), values | {"project": project.pk})
        first, last = cursor.fetchone()
    return Span(first, last) if first else None
