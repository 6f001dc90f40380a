"""Agreement between annotators, computed in SQL: percent agreement and tau in one pass, Krippendorff's alpha in another.

A ranking of k answers is stored as two bit sets with one bit per pair of answers: the pairs ordered one way, and the pairs
ordered the other way. The pairs on which two people agree are then a `bit_count`. `logic.agreement` computes the same in
Python; tests compare the two.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db import connection

from annotation.analytics.figures import figure
from annotation.analytics.filters import Filters
from annotation.analytics.time_steps import STEPS_BY_NAME, WEEK, TimeStep, wall_clock
from annotation.logic import agreement
from annotation.logic.agreement import Coincidences, Interval, Tally
from annotation.models import Project
from annotation.models.judgments import is_current

BLOCKS = 20
"""Blocks of items for the jackknife interval of alpha."""

# Judgments that hold a slot and are not superseded by a later revision, of items without a gold answer.
COUNTED_JUDGMENTS = f"""
judgments AS MATERIALIZED (
    SELECT judgment.id, judgment.item_id, judgment.annotator_id, judgment.guideline_id, judgment.created_at,
           judgment.degree, item.prompt_id,
           string_agg(placement.rank::text, '' ORDER BY placement.response_id) AS ranks
    FROM annotation_judgment AS judgment
    JOIN annotation_item AS item ON item.id = judgment.item_id
    JOIN annotation_placement AS placement ON placement.judgment_id = judgment.id
    WHERE item.project_id = %(project)s AND item.gold IS NULL AND judgment.slot_id IS NOT NULL
      AND {is_current()}
      {{where}}
    GROUP BY judgment.id, item.id
)"""

RANKINGS = """
rankings AS MATERIALIZED (
    SELECT ranks, count(*)::int AS pairs,
           bit_or(CASE WHEN substr(ranks, i, 1) < substr(ranks, j, 1) THEN 1::bigint << (j - 2) * (j - 1) / 2 + i - 1
                       ELSE 0 END) AS better,
           bit_or(CASE WHEN substr(ranks, i, 1) > substr(ranks, j, 1) THEN 1::bigint << (j - 2) * (j - 1) / 2 + i - 1
                       ELSE 0 END) AS worse
    FROM (SELECT DISTINCT ranks FROM judgments) AS different
    CROSS JOIN LATERAL generate_series(1, length(ranks) - 1) AS i
    CROSS JOIN LATERAL generate_series(i + 1, length(ranks)) AS j
    GROUP BY ranks
)"""

# number of pairs on which the rankings x and y agree: better in both, worse in both, or tied in both
AGREEING_PAIRS = """bit_count(((x.better & y.better) | (x.worse & y.worse))::bit(64))
               + x.pairs - bit_count((x.better | x.worse | y.better | y.worse)::bit(64))"""

JUDGMENT_PAIRS = f"""
halves AS MATERIALIZED (
    SELECT *, ntile(2) OVER (PARTITION BY annotator_id ORDER BY id) AS half FROM judgments
),
judgment_pairs AS MATERIALIZED (
    SELECT a.item_id, a.prompt_id, a.id AS judgment_a, b.id AS judgment_b,
           a.annotator_id AS annotator_a, b.annotator_id AS annotator_b,
           a.half AS half_a, b.half AS half_b, date_bin(%(step)s, {wall_clock("b.created_at")}, %(origin)s) AS at,
           CASE WHEN a.guideline_id = b.guideline_id THEN a.guideline_id END AS guideline_id,
           x.pairs,
           {{agreeing_pairs}} AS same,
           (bit_count(((x.better & y.better) | (x.worse & y.worse))::bit(64))
               - bit_count(((x.better & y.worse) | (x.worse & y.better))::bit(64)))
               / nullif(sqrt(bit_count((x.better | x.worse)::bit(64))::float
                             * bit_count((y.better | y.worse)::bit(64))), 0) AS tau
    FROM halves AS a
    JOIN halves AS b ON b.item_id = a.item_id AND b.id > a.id AND length(b.ranks) = length(a.ranks)
    JOIN rankings AS x ON x.ranks = a.ranks
    JOIN rankings AS y ON y.ranks = b.ranks
    {{of_annotator}}
)"""

PAIRS_AROUND = (
    "(SELECT judge.annotator_id AS person, judgment_pairs.* FROM judgment_pairs"
    " JOIN judgments AS judge ON judge.item_id = judgment_pairs.item_id{others}) AS each"
)

# GROUP BY expression and source rows for each grouping that `tallies` takes
GROUPINGS = {
    "all": ("''", "judgment_pairs"),
    "at": ("at::text", "judgment_pairs"),
    "version": ("guideline_id::text", "judgment_pairs WHERE guideline_id IS NOT NULL"),
    "person": (
        "person::text",
        (
            "(SELECT annotator_a AS person, * FROM judgment_pairs"
            " UNION ALL SELECT annotator_b AS person, * FROM judgment_pairs) AS each"
        ),
    ),
    # all pairs of judgments of the items that somebody judged, and those of them that are not theirs
    "around": ("person::text", PAIRS_AROUND.format(others="")),
    "rest": (
        "person::text",
        PAIRS_AROUND.format(
            others=" WHERE judge.annotator_id NOT IN (judgment_pairs.annotator_a, judgment_pairs.annotator_b)"
        ),
    ),
    "half": (
        "person::text || ':' || half",
        (
            "(SELECT annotator_a AS person, half_a AS half, * FROM judgment_pairs"
            " UNION ALL SELECT annotator_b AS person, half_b AS half, * FROM judgment_pairs) AS each"
        ),
    ),
    "tag": (
        "tag",
        (
            "judgment_pairs JOIN annotation_prompt AS prompt ON prompt.id = judgment_pairs.prompt_id"
            " CROSS JOIN LATERAL unnest(prompt.tags) AS tag"
        ),
    ),
    "judgment": (
        "judgment_id::text",
        (
            "(SELECT judgment_a AS judgment_id, annotator_a AS person, * FROM judgment_pairs"
            " UNION ALL SELECT judgment_b AS judgment_id, annotator_b AS person, * FROM judgment_pairs)"
            " AS each WHERE person = %(annotator)s"
        ),
    ),
}

GROUP_SUMS = """
SELECT '{name}' AS name, {key} AS key, item_id, sum(same)::float AS same, sum(pairs)::float AS pairs,
       sum(tau)::float AS tau, count(tau) AS rankings
FROM {rows} GROUP BY 1, 2, 3"""

TALLIES = """
WITH {judgments}, {rankings}, {judgment_pairs}
SELECT name, key, sum(same), sum(pairs), count(*), sum(same * same), sum(same * pairs), sum(pairs * pairs),
       coalesce(sum(tau), 0), sum(rankings)::int
FROM ({sums}) AS items
GROUP BY name, key ORDER BY name, key
"""


def tallies(
    project: Project, filters: Filters, *by: str, step: TimeStep = WEEK
) -> dict[str, dict[str, Tally]]:
    """Tallies of all pairs of judgments, by grouping (a key of `GROUPINGS`) and by its value. One query.

    With an annotator in the filters, only pairs that include one of their judgments.
    """
    return _tallies(project, filters, step.name, *by)


@figure
def _tallies(project: Project, filters: Filters, step: str, *by: str) -> dict[str, dict[str, Tally]]:
    where, values = filters.where()
    values |= {"project": project.pk} | STEPS_BY_NAME[step].values
    of_annotator = ""
    if filters.annotator:
        of_annotator = "WHERE a.annotator_id = %(annotator)s OR b.annotator_id = %(annotator)s"
        values["annotator"] = filters.annotator.pk
    sums = " UNION ALL ".join(
        GROUP_SUMS.format(name=name, key=GROUPINGS[name][0], rows=GROUPINGS[name][1]) for name in by
    )
    query = TALLIES.format(
        judgments=COUNTED_JUDGMENTS.format(where=where),
        rankings=RANKINGS,
        judgment_pairs=JUDGMENT_PAIRS.format(agreeing_pairs=AGREEING_PAIRS, of_annotator=of_annotator),
        sums=sums,
    )
    by_name: dict[str, dict[str, Tally]] = {name: {} for name in by}
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        for name, key, *totals in cursor.fetchall():
            by_name[name][key] = Tally(*totals)
    return by_name


# For two answers the label is the degree, from 1 (the first is significantly better) to 8 (the second is); for more it is
# the answer's rank. The labels of a unit are packed into one integer, six bits for the count of each: summing is faster
# than sorting lists, and units with equal counts are grouped together.
VALUES, BITS = 9, 6

ALPHA = """
WITH {judgments},
labels AS MATERIALIZED (
    SELECT item_id, guideline_id, created_at, 0 AS place,
           CASE WHEN ranks = '12' THEN degrees.step ELSE 9 - degrees.step END AS value
    FROM judgments
    JOIN (VALUES ('significantly', 1), ('better', 2), ('slightly', 3), ('negligibly', 4)) AS degrees (degree, step)
      ON degrees.degree = judgments.degree
    WHERE %(two)s AND length(ranks) = 2
    UNION ALL
    SELECT item_id, guideline_id, created_at, place, substr(ranks, place, 1)::int
    FROM judgments CROSS JOIN LATERAL generate_series(1, length(ranks)) AS place
    WHERE NOT %(two)s AND length(ranks) > 2
)
SELECT 'at' AS name, at::text AS key, block, counts::bigint, count(*) FROM (
    SELECT item_id %% {blocks} AS block, date_bin(%(step)s, {latest}, %(origin)s) AS at,
           sum(1::bigint << {bits} * (value - 1)) AS counts
    FROM labels GROUP BY item_id, place HAVING count(*) > 1) AS units
GROUP BY at, block, counts
UNION ALL
SELECT 'version', guideline_id::text, block, counts::bigint, count(*) FROM (
    SELECT item_id %% {blocks} AS block, guideline_id, sum(1::bigint << {bits} * (value - 1)) AS counts
    FROM labels GROUP BY item_id, place, guideline_id HAVING count(*) > 1) AS units
WHERE guideline_id IS NOT NULL
GROUP BY guideline_id, block, counts
"""

# Nominal labels: which of two answers is better, or neither. Two judgments of an item are compared on all of its pairs at
# once with bit counts. Each comparison weighs 1 / (judgments of the item - 1), as in `logic.agreement.coincidences`.
NOMINAL = """
WITH {judgments}, {rankings},
counted AS MATERIALIZED (
    SELECT item_id, id, pairs, better, worse, (1::bigint << pairs) - 1 & ~(better | worse) AS tied,
           1.0::float / nullif(count(*) OVER (PARTITION BY item_id, pairs) - 1, 0) AS weight
    FROM judgments JOIN rankings USING (ranks)
)
SELECT a.item_id %% {blocks},
       sum(a.weight * bit_count((a.better & b.better)::bit(64))),
       sum(a.weight * bit_count((a.worse & b.worse)::bit(64))),
       sum(a.weight * bit_count((a.tied & b.tied)::bit(64))),
       sum(a.weight * bit_count(((a.better & b.worse) | (a.worse & b.better))::bit(64))),
       sum(a.weight * bit_count(((a.better & b.tied) | (a.tied & b.better))::bit(64))),
       sum(a.weight * bit_count(((a.worse & b.tied) | (a.tied & b.worse))::bit(64)))
FROM counted AS a JOIN counted AS b ON b.item_id = a.item_id AND b.id > a.id AND b.pairs = a.pairs
GROUP BY 1
"""


@dataclass(frozen=True)
class Alphas:
    """Krippendorff's alpha: on degrees or ranks (`ordinal`), on which of two answers is better (`nominal`), and the ordinal
    alpha by time step and by guideline version (the row's id)."""

    ordinal: Interval | None
    nominal: Interval | None
    by_time: dict[str, Interval]
    by_version: dict[str, Interval]


def alphas(project: Project, filters: Filters, *, step: TimeStep = WEEK) -> Alphas:
    """Alpha of the project's judgments; with an annotator in the filters, over the items that they judged. Two queries."""
    return _alphas(project, filters, step.name)


@figure
def _alphas(project: Project, filters: Filters, step: str) -> Alphas:
    where, values = filters.where()
    if filters.annotator:
        where += " AND judgment.item_id IN (SELECT item_id FROM annotation_judgment WHERE annotator_id = %(annotator)s)"
        values["annotator"] = filters.annotator.pk
    values |= {"project": project.pk, "two": project.k == 2} | STEPS_BY_NAME[step].values
    judgments = COUNTED_JUDGMENTS.format(where=where)
    parts: dict[str, dict[str, dict[int, Coincidences]]] = {"at": {}, "version": {}}
    for (name, key), blocks in _units(
        ALPHA.format(judgments=judgments, blocks=BLOCKS, bits=BITS, latest=wall_clock("max(created_at)")),
        values,
    ).items():
        parts[name][key] = {block: agreement.coincidences(units) for block, units in blocks.items()}
    whole: dict[int, list[Coincidences]] = defaultdict(list)
    for tables in parts["at"].values():
        for block, table in tables.items():
            whole[block].append(table)
    return Alphas(
        ordinal=agreement.alpha_interval(
            {block: agreement.merged(tables) for block, tables in whole.items()}, level="ordinal"
        ),
        nominal=_nominal(judgments, values),
        by_time=_intervals(parts["at"]),
        by_version=_intervals(parts["version"]),
    )


def _units(
    query: str, values: dict[str, Any]
) -> dict[tuple[str, str], dict[int, list[tuple[list[int], int]]]]:
    units: dict[tuple[str, str], dict[int, list[tuple[list[int], int]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        for name, key, block, counts, times in cursor.fetchall():
            units[name, key][block].append((_labels(counts), times))
    return units


def _labels(counts: int) -> list[int]:
    """The labels of a unit, unpacked from their counts."""
    pairs = ((value, counts >> BITS * (value - 1) & (1 << BITS) - 1) for value in range(1, VALUES + 1))
    return [value for value, times in pairs for _ in range(times)]


def _nominal(judgments: str, values: dict[str, Any]) -> Interval | None:
    tables: dict[int, Coincidences] = {}
    with connection.cursor() as cursor:
        cursor.execute(NOMINAL.format(judgments=judgments, rankings=RANKINGS, blocks=BLOCKS), values)
        for block, *sums in cursor.fetchall():
            better, worse, tied, opposite, better_tied, worse_tied = sums
            # a coincidence matrix counts each ordered pair of judgments, so the diagonal gets both orders
            tables[block] = {(1, 1): 2 * better, (2, 2): 2 * worse, (3, 3): 2 * tied}
            tables[block] |= dict.fromkeys(((1, 2), (2, 1)), opposite)
            tables[block] |= dict.fromkeys(((1, 3), (3, 1)), better_tied)
            tables[block] |= dict.fromkeys(((2, 3), (3, 2)), worse_tied)
    return agreement.alpha_interval(tables, level="nominal")


def _intervals(parts: dict[str, dict[int, Coincidences]]) -> dict[str, Interval]:
    intervals = {
        key: agreement.alpha_interval(blocks, level="ordinal") for key, blocks in sorted(parts.items())
    }
    return {key: interval for key, interval in intervals.items() if interval is not None}
