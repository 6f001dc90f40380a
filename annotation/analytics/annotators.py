"""Statistics of each annotator: agreement with the others, gold accuracy, speed, and position, length and drift biases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _

from annotation.analytics.agreement import tallies
from annotation.analytics.figures import figure
from annotation.analytics.filters import Filters
from annotation.analytics.time_steps import WEEK, wall_clock
from annotation.db.sql_rows import SqlRows
from annotation.logic import bias, outliers
from annotation.logic.agreement import GOLD_MISS, Interval, Tally, wilson
from annotation.logic.bias import Test
from annotation.logic.degrees import LABELS
from annotation.logic.outliers import CHARACTERS_PER_WORD, SLOW_END_Z, Outlier, Speed, Work
from annotation.models import Judgment, Member, Project, User
from annotation.models.judgments import is_current

# One row per annotator: counts, median time, how often they chose the first answer or the longest over the shortest, how often
# they gave each degree or only ties, and the seconds that they took for a character of the answers: the median and the upper
# bound of its interval (by order statistics). Answer lengths are computed once per item.
STATS = f"""
WITH measured AS MATERIALIZED (
    SELECT candidate.item_id, length(response.text)::bigint AS chars,
           length(response.text)::bigint << 40 | response.id AS size
    FROM annotation_candidate AS candidate
    JOIN annotation_item AS item ON item.id = candidate.item_id
    JOIN annotation_response AS response ON response.id = candidate.response_id
    WHERE item.project_id = %(project)s
),
lengths AS (
    SELECT item_id, sum(chars) AS chars,
           CASE WHEN max(chars) > min(chars) THEN max(size) & (1::bigint << 40) - 1 END AS longest,
           CASE WHEN max(chars) > min(chars) THEN min(size) & (1::bigint << 40) - 1 END AS shortest
    FROM measured GROUP BY item_id
),
work AS (
    SELECT judgment.annotator_id, judgment.seconds, judgment.created_at, judgment.degree, placed.*,
           judgment.seconds / nullif(lengths.chars, 0) AS pace,
           count(*) OVER (PARTITION BY judgment.annotator_id) AS done
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
      AND {is_current()}
      {{where}}
)
SELECT annotator_id, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), max(created_at),
       count(*) FILTER (WHERE best = 1),
       count(*) FILTER (WHERE best = 1 AND first = 1),
       coalesce(avg(1.0 / k) FILTER (WHERE best = 1), 0)::float,
       count(*) FILTER (WHERE longest <> shortest),
       count(*) FILTER (WHERE longest < shortest),
       count(pace), percentile_cont(0.5) WITHIN GROUP (ORDER BY pace),
       percentile_cont(least(1, 0.5 + {SLOW_END_Z} / 2 / sqrt(done))) WITHIN GROUP (ORDER BY pace),
       count(*) FILTER (WHERE k > 1), count(*) FILTER (WHERE k > 1 AND best = k AND degree IS NULL),
       {", ".join(f"count(*) FILTER (WHERE degree = '{value}')" for value in LABELS)}
FROM work GROUP BY annotator_id, done
"""
TIED = "tied"
"""The value of a judgment that ties all answers, beside the degrees."""

# One row per judgment of a gold item: how many of its pairs are right
GOLD = f"""
SELECT judgment.id AS judgment_id, judgment.annotator_id, judgment.item_id, judgment.created_at,
       count(*) FILTER (WHERE better.rank < worse.rank)::int AS good, count(*)::int AS pairs
FROM annotation_judgment AS judgment
JOIN annotation_item AS item ON item.id = judgment.item_id
JOIN annotation_placement AS better ON better.judgment_id = judgment.id
JOIN annotation_placement AS worse ON worse.judgment_id = judgment.id
WHERE item.project_id = %(project)s AND item.gold IS NOT NULL AND judgment.slot_id IS NOT NULL
  AND (item.gold->>better.response_id::text)::int < (item.gold->>worse.response_id::text)::int
  AND {is_current()}
  {{where}}
GROUP BY judgment.id
"""


@dataclass(frozen=True)
class GoldScore:
    """An annotator's results on gold items, in pairs and in judgments."""

    right: int = 0
    pairs: int = 0
    judgments: int = 0
    missed: int = 0

    @property
    def share(self) -> Interval | None:
        """The share of gold pairs ordered correctly. The Wilson interval counts judgments, since the pairs of one judgment are
        not independent."""
        if not self.pairs:
            return None
        share = self.right / self.pairs
        return Interval(share, *wilson(share * self.judgments, self.judgments), self.judgments)


NO_TALLY, NO_GOLD = Tally(), GoldScore()


@dataclass(frozen=True)
class AnnotatorStats:
    """One annotator's statistics in a project. A bias test is None where there is no data for it; `flags` names the tests that
    are significant. `others` is the others' agreement among themselves; `outliers` has the reasons why they stand out."""

    user: User
    member: Member | None = None
    judgments: int = 0
    median_seconds: float | None = None
    last: datetime | None = None
    tally: Tally = NO_TALLY
    others: Tally = NO_TALLY
    gold: GoldScore = NO_GOLD
    speed: Speed | None = None
    values: dict[str, int] | None = None
    valued: int = 0
    left: Test | None = None
    length: Test | None = None
    drift: Test | None = None
    flags: frozenset[str] = frozenset()
    outliers: tuple[Outlier, ...] = ()

    @property
    def agreement(self) -> Interval | None:
        return self.tally.share


def gold_scores(project: Project, filters: Filters) -> dict[int, GoldScore]:
    """Gold scores by annotator id. One query."""
    scores: dict[int, GoldScore] = {}
    where, values = filters.where_annotator()
    query = f"""
        SELECT annotator_id, sum(good)::int, sum(pairs)::int, count(*),
               count(*) FILTER (WHERE good < {GOLD_MISS} * pairs)
        FROM ({GOLD.format(where=where)}) AS gold GROUP BY annotator_id"""
    with connection.cursor() as cursor:
        cursor.execute(query, values | {"project": project.pk})
        for person, *counts in cursor.fetchall():
            scores[person] = GoldScore(*counts)
    return scores


def total_gold_score(scores: Iterable[GoldScore]) -> GoldScore:
    scores = list(scores)
    return GoldScore(
        sum(s.right for s in scores),
        sum(s.pairs for s in scores),
        sum(s.judgments for s in scores),
        sum(s.missed for s in scores),
    )


def annotator_stats(project: Project, filters: Filters) -> list[AnnotatorStats]:
    """Statistics of everybody who judged in the project, most judgments first; with an annotator in the filters, of them alone,
    compared with everybody. Five queries."""
    stats = _measure(project, replace(filters, annotator=None), project.qualification_accuracy)
    if filters.annotator:
        stats = [row for row in stats if row.user.pk == filters.annotator.pk]
    users = User.objects.in_bulk([row.user.pk for row in stats])
    members = {m.user_id: m for m in Member.objects.filter(project=project)}
    stats = [replace(row, user=users[row.user.pk], member=members.get(row.user.pk)) for row in stats]
    return sorted(stats, key=lambda row: (-row.judgments, row.user.username))


def works_of(stats: Iterable[AnnotatorStats]) -> dict[str, Work]:
    """What the checks for outliers need, by the annotator's id."""
    return {
        str(row.user.pk): Work(
            speed=row.speed,
            agreement=row.tally,
            others=row.others,
            first=row.left,
            gold=(row.gold.judgments, row.gold.share.value) if row.gold.share else (0, 0.0),
            values=row.values,
            valued=row.valued,
        )
        for row in stats
    }


@figure
def _measure(project: Project, filters: Filters, gold_threshold: float) -> list[AnnotatorStats]:
    """Without their members; of the users only the ids."""
    by = tallies(project, filters, "all", "person", "around", "rest", "half")
    golds, rows = gold_scores(project, filters), _stats_rows(project, filters)
    everything = by["all"].get("", NO_TALLY)
    longer = {person: (counts[7], counts[6]) for person, counts in rows.items()}
    stats = []
    for person, (n, seconds, last, chose, chose_first, expected, _long, _longer, *more) in rows.items():
        timed, pace, slow_pace, valued, tied, *degrees = more
        own, rest = (by[name].get(str(person), NO_TALLY) for name in ("person", "rest"))
        elsewhere = everything - by["around"].get(str(person), NO_TALLY)
        stats.append(
            AnnotatorStats(
                user=User(pk=person),
                judgments=n,
                median_seconds=seconds,
                last=last,
                tally=own,
                others=outliers.reference(rest, elsewhere + rest),
                gold=golds.get(person, NO_GOLD),
                speed=Speed(_words_per_minute(pace), _words_per_minute(slow_pace), timed) if timed else None,
                values=dict(zip((TIED, *LABELS), (tied, *degrees), strict=True)),
                valued=valued,
                left=bias.binomial_test(chose_first, chose, expected),
                length=_length_test(person, longer),
                drift=_drift_test(by["half"], person),
            )
        )
    return _with_outliers(_with_flags(stats), gold_threshold)


def _words_per_minute(seconds_per_character: float) -> float:
    """At most a million, for times of nothing at all."""
    return 60 / max(CHARACTERS_PER_WORD * seconds_per_character, 6e-5)


def _with_outliers(stats: list[AnnotatorStats], gold_threshold: float) -> list[AnnotatorStats]:
    found = outliers.find_outliers(works_of(stats), gold_threshold=gold_threshold)
    return [replace(row, outliers=tuple(found.get(str(row.user.pk), ()))) for row in stats]


def _stats_rows(project: Project, filters: Filters) -> dict[int, list[Any]]:
    """The columns of `STATS` by annotator id."""
    where, values = filters.where_annotator()
    with connection.cursor() as cursor:
        cursor.execute(STATS.format(where=where), values | {"project": project.pk})
        return {person: counts for person, *counts in cursor.fetchall()}


def _length_test(person: int, longer: dict[int, tuple[int, int]]) -> Test | None:
    """How often somebody chose the longer answer, compared with the other annotators (longer answers may be better); with a coin
    where there are no others."""
    own = longer[person]
    others = [counts for other, counts in longer.items() if other != person]
    rest = (sum(x for x, _ in others), sum(n for _, n in others))
    return bias.difference_test(own, rest) if rest[1] else bias.binomial_test(*own, 0.5)


def _drift_test(halves: dict[str, Tally], person: int) -> Test | None:
    """Agreement in the second half of somebody's judgments, compared with the first half."""
    early, late = halves.get(f"{person}:1"), halves.get(f"{person}:2")
    if early is None or late is None or early.share is None or late.share is None:
        return None
    return bias.difference_test(
        (late.share.value * late.effective, late.effective),
        (early.share.value * early.effective, early.effective),
    )


def _with_flags(stats: list[AnnotatorStats]) -> list[AnnotatorStats]:
    """Adds the names of the significant tests, with Holm's correction for the number of annotators."""
    names: dict[str, set[str]] = defaultdict(set)
    for test in ("left", "length", "drift"):
        values = {str(row.user.pk): t.p for row in stats if (t := getattr(row, test)) is not None}
        for person in bias.holm(values):
            names[person].add(test)
    return [replace(row, flags=frozenset(names[str(row.user.pk)])) for row in stats]


# --- one person -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SessionPart:
    """Judgments by their place in a working session: median seconds, and agreement with the others."""

    name: str
    judgments: int
    seconds: float
    agreement: Interval | None


def session_parts(project: Project, user: User, filters: Filters) -> list[SessionPart]:
    """Fatigue: somebody's judgments by their place in a session. Two queries."""
    judgments = list(
        Judgment.objects.current()
        .filter(project=project, annotator=user, slot__isnull=False)
        .filter(**({"created_at__gte": filters.since} if filters.since else {}))
        .order_by("created_at", "id")
        .values_list("id", "created_at", "seconds")
    )
    places = bias.places_in_session([at.timestamp() for _, at, _ in judgments])
    by_judgment = tallies(project, Filters(annotator=user, since=filters.since), "judgment")["judgment"]
    seconds: dict[int, list[float]] = defaultdict(list)
    sums: dict[int, Tally] = defaultdict(Tally)
    for (pk, _at, took), place in zip(judgments, places, strict=True):
        part = bias.stretch(place)
        seconds[part].append(took)
        sums[part] += by_judgment.get(str(pk), NO_TALLY)
    return [
        SessionPart(_(bias.STRETCHES[part][1]), len(took), median(took), sums[part].share)
        for part, took in sorted(seconds.items())
    ]


SECONDS_BY_DAY = f"""
SELECT date_trunc('day', {wall_clock("judgment.created_at")}, 'UTC'), count(*),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY judgment.seconds)
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE item.project_id = %(project)s AND judgment.slot_id IS NOT NULL
  AND {is_current()}
  {{where}}
GROUP BY 1 ORDER BY 1
"""


@figure
def seconds_by_day(project: Project, filters: Filters) -> list[tuple[datetime, int, float]]:
    """`(day, judgments, median seconds)` for each day, on the wall clock, with judgments."""
    where, values = filters.where_annotator()
    with connection.cursor() as cursor:
        cursor.execute(SECONDS_BY_DAY.format(where=where), values | WEEK.values | {"project": project.pk})
        return [(at, n, float(seconds)) for at, n, seconds in cursor.fetchall()]


@dataclass(frozen=True)
class GoldMiss:
    """A judgment of a gold item with too few pairs right (`GOLD_MISS`)."""

    judgment_id: int
    annotator: str
    pseudonym: str
    item_id: int
    at: datetime
    right: int
    pairs: int
    prompt: str

    @property
    def pk(self) -> int:
        return self.judgment_id


def gold_misses(project: Project, filters: Filters) -> SqlRows[GoldMiss]:
    """Judgments that failed a gold item, with a column `judgment_id`."""
    where, values = filters.where_annotator()
    return SqlRows(
        f"SELECT * FROM ({GOLD.format(where=where)}) AS gold WHERE good < {GOLD_MISS} * pairs",
        GoldMiss,
        values | {"project": project.pk},
        columns="page.judgment_id, person.username, person.pseudonym, page.item_id, page.created_at, page.good, page.pairs,"
        " left(prompt.messages->-1->>'content', 200)",
        joins="JOIN annotation_user AS person ON person.id = page.annotator_id"
        " JOIN annotation_item AS item ON item.id = page.item_id"
        " JOIN annotation_prompt AS prompt ON prompt.id = item.prompt_id",
    )


def last_judgments(project: Project, user: User, *, limit: int = 12) -> list[Judgment]:
    """Somebody's newest judgments, with their items' prompts. One query."""
    return list(
        Judgment.objects.current()
        .filter(project=project, annotator=user)
        .select_related("item__prompt")
        .order_by("-id")[:limit]
    )
