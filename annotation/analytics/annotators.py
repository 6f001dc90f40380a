"""How each person works: agreement with the others, gold, speed, and habits that have nothing to do with the answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any

from django.db import connection

from annotation.analytics.agreement import tallies
from annotation.analytics.cache import kept
from annotation.analytics.filters import Filters
from annotation.logic import bias
from annotation.logic.agreement import GOLD_MISS, Interval, Tally, wilson
from annotation.logic.bias import Test
from annotation.models import Judgment, Member, Project, User

# The answer that stood first, and the longest against the shortest. Lengths are taken once an item.
WORK = """
WITH measured AS MATERIALIZED (
    SELECT candidate.item_id, length(response.text)::bigint << 40 | response.id AS size
    FROM annotation_candidate AS candidate
    JOIN annotation_item AS item ON item.id = candidate.item_id
    JOIN annotation_response AS response ON response.id = candidate.response_id
    WHERE item.project_id = %(project)s
),
lengths AS (
    SELECT item_id, max(size) & (1::bigint << 40) - 1 AS longest, min(size) & (1::bigint << 40) - 1 AS shortest
    FROM measured GROUP BY item_id HAVING max(size) >> 40 > min(size) >> 40
)
SELECT judgment.annotator_id, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY judgment.seconds),
       max(judgment.created_at),
       count(*) FILTER (WHERE placed.best = 1),
       count(*) FILTER (WHERE placed.best = 1 AND placed.first = 1),
       coalesce(avg(1.0 / placed.k) FILTER (WHERE placed.best = 1), 0)::float,
       count(*) FILTER (WHERE placed.longest <> placed.shortest),
       count(*) FILTER (WHERE placed.longest < placed.shortest)
FROM annotation_judgment AS judgment
JOIN annotation_item AS item ON item.id = judgment.item_id
LEFT JOIN lengths ON lengths.item_id = item.id
CROSS JOIN LATERAL (
    SELECT count(*) AS k, count(*) FILTER (WHERE rank = 1) AS best,
           min(rank) FILTER (WHERE response_id = judgment.shown_order[1]) AS first,
           min(rank) FILTER (WHERE response_id = lengths.longest) AS longest,
           min(rank) FILTER (WHERE response_id = lengths.shortest) AS shortest
    FROM annotation_placement AS placement WHERE placement.judgment_id = judgment.id) AS placed
WHERE item.project_id = %(project)s AND judgment.slot_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM annotation_judgment AS later WHERE later.supersedes_id = judgment.id)
  {where}
GROUP BY judgment.annotator_id
"""

# Every judgment of an item whose answer is known: how many of its pairs are right
GOLD = """
SELECT judgment.id AS judgment_id, judgment.annotator_id, judgment.item_id, judgment.created_at,
       count(*) FILTER (WHERE better.rank < worse.rank)::int AS good, count(*)::int AS pairs
FROM annotation_judgment AS judgment
JOIN annotation_item AS item ON item.id = judgment.item_id
JOIN annotation_placement AS better ON better.judgment_id = judgment.id
JOIN annotation_placement AS worse ON worse.judgment_id = judgment.id
WHERE item.project_id = %(project)s AND item.gold IS NOT NULL AND judgment.slot_id IS NOT NULL
  AND (item.gold->>better.response_id::text)::int < (item.gold->>worse.response_id::text)::int
  AND NOT EXISTS (SELECT FROM annotation_judgment AS later WHERE later.supersedes_id = judgment.id)
  {where}
GROUP BY judgment.id
"""


@dataclass(frozen=True)
class GoldScore:
    """How somebody did on items with a known answer."""

    right: int = 0
    pairs: int = 0
    judgments: int = 0
    missed: int = 0

    @property
    def share(self) -> Interval | None:
        """Of the pairs whose order is known, the share put right; its interval counts judgments, as the pairs of one hang
        together."""
        if not self.pairs:
            return None
        share = self.right / self.pairs
        return Interval(share, *wilson(share * self.judgments, self.judgments), self.judgments)


NOBODY, NO_GOLD = Tally(), GoldScore()


@dataclass(frozen=True)
class AnnotatorStats:
    """One person's work in a project. Tests are None where there is nothing to test."""

    user: User
    member: Member | None = None
    judgments: int = 0
    median_seconds: float | None = None
    last: datetime | None = None
    met: Tally = NOBODY
    gold: GoldScore = NO_GOLD
    left: Test | None = None
    length: Test | None = None
    drift: Test | None = None
    flags: frozenset[str] = frozenset()

    @property
    def agreement(self) -> Interval | None:
        return self.met.share


def gold_scores(project: Project, filters: Filters) -> dict[int, GoldScore]:
    """By person. One query."""
    found: dict[int, GoldScore] = {}
    where, values = filters.where_theirs()
    query = f"""
        SELECT annotator_id, sum(good)::int, sum(pairs)::int, count(*),
               count(*) FILTER (WHERE good < {GOLD_MISS} * pairs)
        FROM ({GOLD.format(where=where)}) AS gold GROUP BY annotator_id"""
    with connection.cursor() as cursor:
        cursor.execute(query, values | {"project": project.pk})
        for person, *counts in cursor.fetchall():
            found[person] = GoldScore(*counts)
    return found


def total_gold(scores: Iterable[GoldScore]) -> GoldScore:
    every = list(scores)
    return GoldScore(
        sum(s.right for s in every),
        sum(s.pairs for s in every),
        sum(s.judgments for s in every),
        sum(s.missed for s in every),
    )


def annotator_stats(project: Project, filters: Filters) -> list[AnnotatorStats]:
    """Everybody who judged in the project, the busiest first. Five queries."""
    by = tallies(project, filters, "person", "half")
    golds = gold_scores(project, filters)
    rows = kept(project, filters, "work", count=lambda: _work(project, filters))
    users = User.objects.in_bulk(list(rows))
    members = {m.user_id: m for m in Member.objects.filter(project=project)}
    longer = {person: (counts[7], counts[6]) for person, counts in rows.items()}
    found = [
        AnnotatorStats(
            user=users[person],
            member=members.get(person),
            judgments=n,
            median_seconds=seconds,
            last=last,
            met=by["person"].get(str(person), NOBODY),
            gold=golds.get(person, NO_GOLD),
            left=bias.binomial_test(chose_first, chose_one, expected),
            length=_against_others(person, longer),
            drift=_drift(by["half"], person),
        )
        for person, (n, seconds, last, chose_one, chose_first, expected, *_) in rows.items()
    ]
    return sorted(_flagged(found), key=lambda one: (-one.judgments, one.user.username))


def _work(project: Project, filters: Filters) -> dict[int, list[Any]]:
    """The columns of `WORK` by person."""
    where, values = filters.where_theirs()
    with connection.cursor() as cursor:
        cursor.execute(WORK.format(where=where), values | {"project": project.pk})
        return {person: counts for person, *counts in cursor.fetchall()}


def _against_others(person: int, longer: dict[int, tuple[int, int]]) -> Test | None:
    """Longer answers may be better ones: the yardstick is what the others make of them; a coin where there are none."""
    mine = longer[person]
    others = [counts for other, counts in longer.items() if other != person]
    rest = (sum(x for x, _ in others), sum(n for _, n in others))
    return bias.difference_test(mine, rest) if rest[1] else bias.binomial_test(*mine, 0.5)


def _drift(halves: dict[str, Tally], person: int) -> Test | None:
    """Agreement in the later half of somebody's judgments, against the earlier half."""
    early, late = halves.get(f"{person}:1"), halves.get(f"{person}:2")
    if early is None or late is None or early.share is None or late.share is None:
        return None
    return bias.difference_test(
        (late.share.value * late.effective, late.effective),
        (early.share.value * early.effective, early.effective),
    )


def _flagged(found: list[AnnotatorStats]) -> list[AnnotatorStats]:
    """With the names of the tests that stand out, after Holm's correction for the number of people."""
    names: dict[str, set[str]] = defaultdict(set)
    for test in ("left", "length", "drift"):
        values = {str(one.user.pk): t.p for one in found if (t := getattr(one, test)) is not None}
        for person in bias.holm(values):
            names[person].add(test)
    return [replace(one, flags=frozenset(names[str(one.user.pk)])) for one in found]


# --- one person -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stretch:
    """A stretch of places in a session: how long judgments took there, and how far they agree with the others'."""

    name: str
    judgments: int
    seconds: float
    agreement: Interval | None


def stretches(project: Project, user: User, filters: Filters) -> list[Stretch]:
    """Fatigue: somebody's work by its place in a session. Two queries."""
    mine = list(
        Judgment.objects.current()
        .filter(item__project=project, annotator=user, slot__isnull=False)
        .filter(**({"created_at__gte": filters.since} if filters.since else {}))
        .order_by("created_at", "id")
        .values_list("id", "created_at", "seconds")
    )
    places = bias.places_in_session([at.timestamp() for _, at, _ in mine])
    met = tallies(project, Filters(annotator=user, since=filters.since), "judgment")["judgment"]
    seconds: dict[int, list[float]] = defaultdict(list)
    sums: dict[int, Tally] = defaultdict(Tally)
    for (pk, _, took), place in zip(mine, places, strict=True):
        here = bias.stretch(place)
        seconds[here].append(took)
        sums[here] += met.get(str(pk), NOBODY)
    return [
        Stretch(bias.STRETCHES[here][1], len(took), median(took), sums[here].share)
        for here, took in sorted(seconds.items())
    ]


SPEED = """
SELECT date_trunc('day', judgment.created_at), count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY judgment.seconds)
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE item.project_id = %(project)s AND judgment.slot_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM annotation_judgment AS later WHERE later.supersedes_id = judgment.id)
  {where}
GROUP BY 1 ORDER BY 1
"""


def speed(project: Project, filters: Filters) -> list[tuple[datetime, int, float]]:
    """Day, judgments and median seconds, of the days (UTC) on which somebody worked."""
    where, values = filters.where_theirs()
    with connection.cursor() as cursor:
        cursor.execute(SPEED.format(where=where), values | {"project": project.pk})
        return [(at, n, float(seconds)) for at, n, seconds in cursor.fetchall()]


@dataclass(frozen=True)
class Miss:
    """A judgment of a gold item; `missed` where too little of it is right."""

    judgment: int
    annotator: str
    item: int
    at: datetime
    right: int
    pairs: int
    prompt: str


def gold_misses(project: Project, filters: Filters, *, limit: int = 50, offset: int = 0) -> list[Miss]:
    """The judgments that missed a known answer, newest first."""
    where, values = filters.where_theirs()
    query = f"""
        SELECT gold.judgment_id, person.username, gold.item_id, gold.created_at, good, pairs,
               left(prompt.messages->-1->>'content', 200)
        FROM ({GOLD.format(where=where)}) AS gold
        JOIN annotation_user AS person ON person.id = gold.annotator_id
        JOIN annotation_item AS item ON item.id = gold.item_id
        JOIN annotation_prompt AS prompt ON prompt.id = item.prompt_id
        WHERE good < {GOLD_MISS} * pairs
        ORDER BY gold.judgment_id DESC LIMIT %(limit)s OFFSET %(offset)s"""
    values |= {"project": project.pk, "limit": limit, "offset": offset}
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return [Miss(*row) for row in cursor.fetchall()]


def last_judgments(project: Project, user: User, *, limit: int = 12) -> list[Judgment]:
    """Somebody's newest judgments, with their items' prompts. One query."""
    return list(
        Judgment.objects.current()
        .filter(item__project=project, annotator=user)
        .select_related("item__prompt")
        .order_by("-id")[:limit]
    )
