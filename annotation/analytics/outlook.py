"""What happens next in a project: who judges now, and when what is awaited will be there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.eligibility import ACTIVE_BATCHES, CLOSED_TO
from annotation.logic.coverage import Coverage, OpenItems, Person, coverage
from annotation.logic.durations import duration, duration_range
from annotation.logic.pace import ENOUGH, TimeLeft, Worker, pace, time_left
from annotation.logic.translation import format_number
from annotation.models import Project
from annotation.queries import Progress, progress

MAX_NAMES = 3
"""As many people are named in a sentence."""
COUNTED_ANEW, MAX_COUNTED = 5_000, 100_000
"""Judgments left, up to which it is counted each time, or at all, which of them those at work can give: it takes 0.1 s for 5,000
and 0.5 to 1 s for 100,000."""
COUNTED_FOR_S = 60
"""How long the count is kept otherwise."""

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
SELECT account.id, account.username, coalesce(judged.judgments, 0),
       extract(epoch FROM statement_timestamp() - greatest(judged.since, statement_timestamp() - interval '1 hour')) / 60,
       coalesce(judged.recent, 0), opened.annotator_id IS NULL AND judged.only_chats,
       coalesce(member.paused_at IS NULL AND (member.role <> 'annotator' OR member.qualified_at IS NOT NULL OR NOT %(qualifies)s),
                false)
FROM judged FULL JOIN opened ON opened.annotator_id = judged.annotator_id
JOIN annotation_user AS account ON account.id = coalesce(judged.annotator_id, opened.annotator_id)
LEFT JOIN annotation_member AS member ON member.project_id = %(project)s AND member.user_id = account.id
WHERE greatest(judged.last, opened.last) >= statement_timestamp() - interval '15 minutes'
ORDER BY greatest(judged.last, opened.last) DESC, account.username
"""


# The people with what they have leased, and the open slots that none of them has, in groups of items alike
PEOPLE = f"""
SELECT member.user_id, member.role <> 'annotator',
    EXISTS (SELECT FROM annotation_author AS author
            WHERE author.user_id = member.user_id AND author.project_id = member.project_id),
    ARRAY(SELECT person.batch_id FROM annotation_batchmember AS person
          WHERE person.user_id = member.user_id AND person.batch_id IN ({ACTIVE_BATCHES.format(project="%(project)s")})),
    (SELECT count(*) FROM annotation_slot AS slot
     WHERE slot.annotator_id = member.user_id AND slot.project_id = member.project_id AND slot.state = 'leased'
       AND NOT slot.gold AND NOT slot.chat AND (%(items)s::bigint[] IS NULL OR slot.item_id = ANY(%(items)s)))
FROM annotation_member AS member WHERE member.project_id = %(project)s AND member.user_id = ANY(%(users)s)
"""
OPEN_ITEMS = f"""
WITH free AS MATERIALIZED (
    SELECT slot.item_id, bool_or(slot.restricted) AS restricted,
        array_agg(CASE WHEN slot.batch_id = ANY (ARRAY({ACTIVE_BATCHES.format(project="%(project)s")}))
                       THEN slot.batch_id ELSE 0 END) AS slots
    FROM annotation_slot AS slot
    WHERE slot.project_id = %(project)s AND slot.state <> 'done' AND NOT slot.gold AND NOT slot.chat
      AND (slot.state = 'open' OR slot.annotator_id <> ALL (%(users)s))
      AND (%(items)s::bigint[] IS NULL OR slot.item_id = ANY(%(items)s))
    GROUP BY slot.item_id)
SELECT count(*), free.restricted, free.slots, closed.people
FROM free CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(user_id ORDER BY user_id), '{{}}') AS people
    FROM ({CLOSED_TO.format(item="free.item_id")}) AS person) AS closed
GROUP BY 2, 3, 4
"""


def at_work(project: Project) -> list[Worker]:
    """Who judges now, the last active one first. One query."""
    return [worker for _user, worker in _at_work(project)]


def _at_work(project: Project) -> list[tuple[int, Worker]]:
    """With their ids."""
    values = {
        "project": project.pk,
        "minutes": project.lease_minutes,
        "qualifies": project.qualification_items > 0,
    }
    with connection.cursor() as cursor:
        cursor.execute(AT_WORK, values)
        return [
            (user, Worker(name, judgments, float(minutes or 0), recent, only_chats, able))
            for user, name, judgments, minutes, recent, only_chats, able in cursor.fetchall()
        ]


def reach(project: Project, users: Collection[int], items: Collection[int] | None = None) -> Coverage:
    """What these members can give to a project's queue, or to some of its items, if they go on until it has nothing for them.
    Two queries."""
    values: dict[str, Any] = {
        "project": project.pk,
        "users": sorted(users),
        "items": items if items is None else sorted(items),
    }
    with connection.cursor() as cursor:
        cursor.execute(PEOPLE, values)
        rows = cursor.fetchall()
        people = [Person(user, reviews, frozenset(batches), held) for user, reviews, _, batches, held in rows]
        cursor.execute(OPEN_ITEMS, values | {"any_writes": any(writes for _, _, writes, *_ in rows)})
        groups = (
            OpenItems(items, restricted, tuple(slots), frozenset(closed_to))
            for items, restricted, slots, closed_to in cursor.fetchall()
        )
        return coverage(people, groups)


def _reach_kept(project: Project, users: Collection[int]) -> Coverage:
    """`reach`, up to a minute old."""
    key = f"reach:{project.pk}:{','.join(map(str, sorted(users)))}"
    found = cache.get(key)
    if found is None:
        found = reach(project, users)
        cache.set(key, found, COUNTED_FOR_S)
    return found


def _listed(names: Sequence[str]) -> str:
    """ "anna, ben and chris"; of many, the first ones and how many more."""
    more = len(names) - MAX_NAMES
    if more > 0:
        rest = ngettext("%(n)s more at work", "%(n)s more at work", more) % {"n": more}
        names = [*names[:MAX_NAMES], rest]
    return _(" and ").join(filter(None, (", ".join(names[:-1]), names[-1])))


@dataclass(frozen=True)
class Outlook:
    """How many judgments are awaited, who works now, and when the last judgment was made.

    Attributes:
        within_reach: how many of the judgments those at work can give; None if that was not counted, as nobody works or more
            than `MAX_COUNTED` are left.
    """

    left: int
    workers: tuple[Worker, ...]
    last: datetime | None
    within_reach: int | None = None

    @property
    def judging(self) -> list[Worker]:
        """The workers who take items from the queue, and for whom it has some."""
        return [worker for worker in self._on_queue if worker.items_left != 0]

    @property
    def _on_queue(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.able and not worker.only_chats]

    @property
    def out_of_reach(self) -> int:
        """How many of the judgments that are left nobody at work can give; all of them where nobody judges."""
        if not self.judging:
            return self.left
        return 0 if self.within_reach is None else max(0, self.left - self.within_reach)

    @property
    def needs_people(self) -> bool:
        """Whether judgments are awaited that only others can give."""
        return self.out_of_reach > 0

    @property
    def is_idle(self) -> bool:
        """Whether judgments are awaited that nobody makes."""
        return self.left > 0 and not self.judging

    @property
    def time_left(self) -> TimeLeft | None:
        """Of the judgments that those at work can give."""
        return time_left(self.left - self.out_of_reach, self.judging)

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
        if not self.judging:
            return self._idle_sentence({"left": format_number(self.left)})
        can_give = self.left - self.out_of_reach
        return " ".join(filter(None, (self._pace_sentence(can_give), self._others_sentence())))

    def _pace_sentence(self, left: int) -> str:
        """Who judges, how fast, and how long what they can give takes them."""
        judging = self.judging
        people = ngettext("%(n)s person is judging", "%(n)s people are judging", len(judging)) % {
            "n": len(judging)
        }
        values = {
            "left": format_number(left),
            "people": people,
            "time": self.time_text,
            "pace": format_number(pace(judging)),
        }
        if self.time_text:
            text = ngettext(
                "%(people)s, about %(pace)s an hour together: %(left)s more judgment takes %(time)s, if they go on.",
                "%(people)s, about %(pace)s an hour together: %(left)s more judgments take %(time)s, if they go on.",
                left,
            )
            return text % values
        text = ngettext(
            "%(people)s, and %(left)s judgment is left. How long that takes can be told after %(enough)s judgments.",
            "%(people)s, and %(left)s judgments are left. How long they take can be told after %(enough)s judgments.",
            left,
        )
        return text % (values | {"enough": ENOUGH})

    def _others_sentence(self) -> str:
        """What nobody at work can give."""
        missing, names = self.out_of_reach, [worker.name for worker in self._on_queue]
        if not missing:
            return ""
        text = ngettext(
            "%(n)s more judgment needs a person other than %(names)s.",
            "%(n)s more judgments need people other than %(names)s.",
            missing,
        )
        return text % {"n": format_number(missing), "names": _listed(names)}

    def _idle_sentence(self, values: dict[str, str]) -> str:
        if self._on_queue:
            values["names"] = _listed([worker.name for worker in self._on_queue])
            text = ngettext(
                "The queue has no more for those at work: %(left)s judgment is left that needs a person other than %(names)s.",
                "The queue has no more for those at work: %(left)s judgments are left that need people other than %(names)s.",
                self.left,
            )
            return text % values
        if any(not worker.only_chats for worker in self.workers):
            text = ngettext(
                "Nobody judges what is in the queue, as those at work are paused or not qualified: %(left)s judgment is left.",
                "Nobody judges what is in the queue, as those at work are paused or not qualified: %(left)s judgments are left.",
                self.left,
            )
            return text % values
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
    """Of a project's queue. Four queries; fewer where its progress is known, nothing is left or nobody works."""
    now = now or progress(project)
    return _outlook(project, now.left, now.last)


def outlook_of_items(project: Project, items: Collection[int], left: int) -> Outlook:
    """Of some of a project's items, of which `left` judgments are awaited."""
    return _outlook(project, left, progress(project).last, items)


def _outlook(
    project: Project, left: int, last: datetime | None, items: Collection[int] | None = None
) -> Outlook:
    rows = _at_work(project)
    users = [user for user, worker in rows if worker.able and not worker.only_chats]
    if not left or not users or left > MAX_COUNTED:
        return Outlook(left, tuple(worker for _user, worker in rows), last)
    can_give = (
        _reach_kept(project, users) if left > COUNTED_ANEW and not items else reach(project, users, items)
    )
    workers = tuple(replace(worker, items_left=can_give.items.get(user)) for user, worker in rows)
    return Outlook(left, workers, last, can_give.judgments)


def joint_outlook(projects: Sequence[Project], *, at_most: int | None = None) -> Outlook:
    """Of the queues of several projects together, of which at most so many judgments are awaited."""
    each = [outlook(project) for project in projects]
    left = sum(one.left for one in each)
    last = max((one.last for one in each if one.last), default=None)
    workers = tuple(worker for one in each for worker in one.workers)
    within_reach = sum(one.left - one.out_of_reach for one in each)
    return Outlook(left if at_most is None else min(left, at_most), workers, last, within_reach)
