"""What happens next in a project: who judges now, and when what is awaited will be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.logic.durations import duration, duration_range
from annotation.logic.pace import ENOUGH, TimeLeft, Worker, pace, time_left
from annotation.logic.translation import format_number
from annotation.models import Project
from annotation.queries import Progress, progress

# Those who submitted something in the last 15 minutes, or opened an item or renewed its lease. Judgments of gold items and of
# live chats are not counted, as they are not among what is left, but the time for them is.
AT_WORK = """
WITH judged AS (
    SELECT judgment.annotator_id, count(*) FILTER (WHERE NOT slot.gold AND NOT slot.chat) AS judgments,
           bool_and(slot.chat) AS only_chats,
           count(*) FILTER (WHERE judgment.created_at >= statement_timestamp() - interval '15 minutes') AS recent,
           min(judgment.created_at - make_interval(secs => least(judgment.seconds, 3600))) AS since,
           max(judgment.created_at) AS last
    FROM annotation_judgment AS judgment JOIN annotation_slot AS slot ON slot.id = judgment.slot_id
    WHERE judgment.project_id = %(project)s AND judgment.supersedes_id IS NULL
      AND judgment.created_at >= statement_timestamp() - interval '1 hour'
    GROUP BY 1
),
opened AS (
    SELECT slot.annotator_id, max(slot.leased_until - make_interval(mins => %(minutes)s)) AS last
    FROM annotation_slot AS slot
    WHERE slot.project_id = %(project)s AND slot.state = 'leased' AND NOT slot.chat AND slot.opened_at IS NOT NULL
      AND slot.leased_until >= statement_timestamp()
    GROUP BY 1
)
SELECT account.username, coalesce(judged.judgments, 0),
       extract(epoch FROM statement_timestamp() - greatest(judged.since, statement_timestamp() - interval '1 hour')) / 60,
       coalesce(judged.recent, 0), opened.annotator_id IS NULL AND judged.only_chats
FROM judged FULL JOIN opened ON opened.annotator_id = judged.annotator_id
JOIN annotation_user AS account ON account.id = coalesce(judged.annotator_id, opened.annotator_id)
WHERE greatest(judged.last, opened.last) >= statement_timestamp() - interval '15 minutes'
ORDER BY greatest(judged.last, opened.last) DESC, account.username
"""


def at_work(project: Project) -> list[Worker]:
    """Who judges now, the last active one first. One query."""
    with connection.cursor() as cursor:
        cursor.execute(AT_WORK, {"project": project.pk, "minutes": project.lease_minutes})
        return [
            Worker(name, judgments, float(minutes or 0), recent, only_chats)
            for name, judgments, minutes, recent, only_chats in cursor.fetchall()
        ]


@dataclass(frozen=True)
class Outlook:
    """How many judgments are awaited, who works now, and when the last judgment was made."""

    left: int
    workers: tuple[Worker, ...]
    last: datetime | None

    @property
    def judging(self) -> list[Worker]:
        """The workers who take items from the queue."""
        return [worker for worker in self.workers if not worker.only_chats]

    @property
    def is_idle(self) -> bool:
        """Whether judgments are awaited that nobody makes."""
        return self.left > 0 and not self.judging

    @property
    def time_left(self) -> TimeLeft | None:
        return time_left(self.left, self.judging)

    @property
    def time_text(self) -> str:
        """The range of the time left; empty if it is unknown."""
        estimate = self.time_left
        return duration_range(estimate.low, estimate.high) if estimate else ""

    @property
    def sentence(self) -> str:
        """Who judges, how fast, and how long the awaited judgments take them; or since when nobody does."""
        if not self.left:
            return _("Everything in the queue is judged.")
        values = {"left": format_number(self.left)}
        judging = self.judging
        if not judging:
            return self._idle_sentence(values)
        people = ngettext("%(n)s person is judging", "%(n)s people are judging", len(judging)) % {
            "n": len(judging)
        }
        values |= {"people": people, "time": self.time_text, "pace": format_number(pace(judging))}
        if self.time_text:
            text = ngettext(
                "%(people)s, about %(pace)s an hour together: %(left)s more judgment takes %(time)s, if they go on.",
                "%(people)s, about %(pace)s an hour together: %(left)s more judgments take %(time)s, if they go on.",
                self.left,
            )
            return text % values
        text = ngettext(
            "%(people)s, and %(left)s judgment is left. How long that takes can be told after %(enough)s judgments.",
            "%(people)s, and %(left)s judgments are left. How long they take can be told after %(enough)s judgments.",
            self.left,
        )
        return text % (values | {"enough": ENOUGH})

    def _idle_sentence(self, values: dict[str, str]) -> str:
        if self.workers:
            values["n"] = str(len(self.workers))
            text = ngettext(
                "%(n)s person chats with the models, and nobody judges what is in the queue: judgments left: %(left)s.",
                "%(n)s people chat with the models, and nobody judges what is in the queue: judgments left: %(left)s.",
                len(self.workers),
            )
            return text % values
        if self.last is None:
            text = ngettext(
                "Nobody has judged yet: %(left)s judgment is left.",
                "Nobody has judged yet: %(left)s judgments are left.",
                self.left,
            )
            return text % values
        values["time"] = duration((timezone.now() - self.last).total_seconds())
        text = ngettext(
            "Nobody is judging: the last judgment was made %(time)s ago, and %(left)s is left.",
            "Nobody is judging: the last judgment was made %(time)s ago, and %(left)s are left.",
            self.left,
        )
        return text % values


def outlook(project: Project, now: Progress | None = None) -> Outlook:
    """Of a project's queue. Two queries; one where its progress is known."""
    now = now or progress(project)
    return Outlook(now.left, tuple(at_work(project)), now.last)


def joint_outlook(projects: Sequence[Project], *, at_most: int | None = None) -> Outlook:
    """Of the queues of several projects together, of which at most so many judgments are awaited."""
    each = [outlook(project) for project in projects]
    left = sum(one.left for one in each)
    last = max((one.last for one in each if one.last), default=None)
    workers = tuple(worker for one in each for worker in one.workers)
    return Outlook(left if at_most is None else min(left, at_most), workers, last)
