"""How far people agree, counted in SQL: in one pass over the judgments for agreement, in another for alpha.

A ranking of k answers is two sets of bits, one bit per pair of answers: which pairs it puts one way, and which the other.
What two people agree on is then a count of bits. `logic.agreement` says the same in Python, and tests hold the two equal.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db import connection

from annotation.analytics.cache import kept
from annotation.analytics.filters import Filters
from annotation.analytics.time_steps import WEEK, Step
from annotation.logic import agreement
from annotation.logic.agreement import Coincidences, Interval, Tally
from annotation.models import Project

BLOCKS = 20
"""Groups of items for alpha's interval."""

# What counts: judgments that took a slot and that no later revision replaced, of items whose answer nobody knows.
SAID = """
said AS MATERIALIZED (
    SELECT judgment.id, judgment.item_id, judgment.annotator_id, judgment.guideline_id, judgment.created_at,
           judgment.degree, item.prompt_id,
           string_agg(placement.rank::text, '' ORDER BY placement.response_id) AS ranks
    FROM annotation_judgment AS judgment
    JOIN annotation_item AS item ON item.id = judgment.item_id
    JOIN annotation_placement AS placement ON placement.judgment_id = judgment.id
    WHERE item.project_id = %(project)s AND item.gold IS NULL AND judgment.slot_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM annotation_judgment AS later WHERE later.supersedes_id = judgment.id)
      {where}
    GROUP BY judgment.id, item.id
)"""

SHAPES = """
shapes AS MATERIALIZED (
    SELECT ranks, count(*)::int AS pairs,
           bit_or(CASE WHEN substr(ranks, i, 1) < substr(ranks, j, 1) THEN 1::bigint << (j - 2) * (j - 1) / 2 + i - 1
                       ELSE 0 END) AS better,
           bit_or(CASE WHEN substr(ranks, i, 1) > substr(ranks, j, 1) THEN 1::bigint << (j - 2) * (j - 1) / 2 + i - 1
                       ELSE 0 END) AS worse
    FROM (SELECT DISTINCT ranks FROM said) AS different
    CROSS JOIN LATERAL generate_series(1, length(ranks) - 1) AS i
    CROSS JOIN LATERAL generate_series(i + 1, length(ranks)) AS j
    GROUP BY ranks
)"""

# of the pairs of two shapes x and y, how many are put the same way: better in both, worse in both, or a tie in both
SAME = """bit_count(((x.better & y.better) | (x.worse & y.worse))::bit(64))
               + x.pairs - bit_count((x.better | x.worse | y.better | y.worse)::bit(64))"""

MET = """
halves AS MATERIALIZED (
    SELECT *, ntile(2) OVER (PARTITION BY annotator_id ORDER BY id) AS half FROM said
),
met AS MATERIALIZED (
    SELECT a.item_id, a.prompt_id, a.id AS first, b.id AS second, a.annotator_id AS one, b.annotator_id AS other,
           a.half AS one_half, b.half AS other_half, date_bin(%(step)s, b.created_at, %(origin)s) AS at,
           CASE WHEN a.guideline_id = b.guideline_id THEN a.guideline_id END AS guideline_id,
           x.pairs,
           {same} AS same,
           (bit_count(((x.better & y.better) | (x.worse & y.worse))::bit(64))
               - bit_count(((x.better & y.worse) | (x.worse & y.better))::bit(64)))
               / nullif(sqrt(bit_count((x.better | x.worse)::bit(64))::float
                             * bit_count((y.better | y.worse)::bit(64))), 0) AS tau
    FROM halves AS a
    JOIN halves AS b ON b.item_id = a.item_id AND b.id > a.id AND length(b.ranks) = length(a.ranks)
    JOIN shapes AS x ON x.ranks = a.ranks
    JOIN shapes AS y ON y.ranks = b.ranks
    {whose}
)"""

# what the pairs are put together by; each is one group of rows of the answer
KEYS = {
    "all": ("''", "met"),
    "at": ("at::text", "met"),
    "version": ("guideline_id::text", "met WHERE guideline_id IS NOT NULL"),
    "person": (
        "person::text",
        "(SELECT one AS person, * FROM met UNION ALL SELECT other AS person, * FROM met) AS each",
    ),
    "half": (
        "person::text || ':' || half",
        (
            "(SELECT one AS person, one_half AS half, * FROM met"
            " UNION ALL SELECT other AS person, other_half AS half, * FROM met) AS each"
        ),
    ),
    "tag": (
        "tag",
        "met JOIN annotation_prompt AS prompt ON prompt.id = met.prompt_id CROSS JOIN LATERAL unnest(prompt.tags) AS tag",
    ),
    "judgment": (
        "said_id::text",
        (
            "(SELECT first AS said_id, one AS person, * FROM met UNION ALL SELECT second AS said_id, other AS person, * FROM met)"
            " AS each WHERE person = %(annotator)s"
        ),
    ),
}

PART = """
SELECT '{name}' AS name, {key} AS key, item_id, sum(same)::float AS same, sum(pairs)::float AS pairs,
       sum(tau)::float AS tau, count(tau) AS rankings
FROM {rows} GROUP BY 1, 2, 3"""

TALLIES = """
WITH {said}, {shapes}, {met}
SELECT name, key, sum(same), sum(pairs), count(*), sum(same * same), sum(same * pairs), sum(pairs * pairs),
       coalesce(sum(tau), 0), sum(rankings)::int
FROM ({parts}) AS items
GROUP BY name, key ORDER BY name, key
"""


def tallies(project: Project, filters: Filters, *by: str, step: Step = WEEK) -> dict[str, dict[str, Tally]]:
    """What pairs of judgments come to, by each of `by` (`KEYS`) and its values. One query.

    With an annotator in the filters, only of the pairs in which they are one of the two.
    """
    return kept(
        project, filters, "tallies", step.name, *by, count=lambda: _tallies(project, filters, by, step)
    )


def _tallies(
    project: Project, filters: Filters, by: tuple[str, ...], step: Step
) -> dict[str, dict[str, Tally]]:
    where, values = filters.where()
    values |= {"project": project.pk} | step.values
    whose = ""
    if filters.annotator:
        whose = "WHERE a.annotator_id = %(annotator)s OR b.annotator_id = %(annotator)s"
        values["annotator"] = filters.annotator.pk
    parts = " UNION ALL ".join(PART.format(name=name, key=KEYS[name][0], rows=KEYS[name][1]) for name in by)
    query = TALLIES.format(
        said=SAID.format(where=where), shapes=SHAPES, met=MET.format(same=SAME, whose=whose), parts=parts
    )
    found: dict[str, dict[str, Tally]] = {name: {} for name in by}
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        for name, key, *sums in cursor.fetchall():
            found[name][key] = Tally(*sums)
    return found


# Of two answers the value is the degree, from 1 (the first is significantly better) to 8 (the second is); of more it is
# the answer's rank. What values a unit got is one number, with six bits for how often each was given: adding is quicker
# than putting lists in order, and units that got the same are counted together.
VALUES, BITS = 9, 6

ALPHA = """
WITH {said},
given AS MATERIALIZED (
    SELECT item_id, guideline_id, created_at, 0 AS place,
           CASE WHEN ranks = '12' THEN degrees.step ELSE 9 - degrees.step END AS value
    FROM said
    JOIN (VALUES ('significantly', 1), ('better', 2), ('slightly', 3), ('negligibly', 4)) AS degrees (degree, step)
      ON degrees.degree = said.degree
    WHERE %(two)s AND length(ranks) = 2
    UNION ALL
    SELECT item_id, guideline_id, created_at, place, substr(ranks, place, 1)::int
    FROM said CROSS JOIN LATERAL generate_series(1, length(ranks)) AS place
    WHERE NOT %(two)s AND length(ranks) > 2
)
SELECT 'at' AS name, at::text AS key, block, given::bigint, count(*) FROM (
    SELECT item_id %% {blocks} AS block, date_bin(%(step)s, max(created_at), %(origin)s) AS at,
           sum(1::bigint << {bits} * (value - 1)) AS given
    FROM given GROUP BY item_id, place HAVING count(*) > 1) AS units
GROUP BY at, block, given
UNION ALL
SELECT 'version', guideline_id::text, block, given::bigint, count(*) FROM (
    SELECT item_id %% {blocks} AS block, guideline_id, sum(1::bigint << {bits} * (value - 1)) AS given
    FROM given GROUP BY item_id, place, guideline_id HAVING count(*) > 1) AS units
WHERE guideline_id IS NOT NULL
GROUP BY guideline_id, block, given
"""

# Which of two answers is better, or neither: every two judgments of an item meet on all of its pairs at once, and what
# meets is counted in bits. Each meeting weighs 1 / (judgments of the item - 1), as in `logic.agreement.coincidences`.
NOMINAL = """
WITH {said}, {shapes},
counted AS MATERIALIZED (
    SELECT item_id, id, pairs, better, worse, (1::bigint << pairs) - 1 & ~(better | worse) AS tied,
           1.0::float / nullif(count(*) OVER (PARTITION BY item_id, pairs) - 1, 0) AS weight
    FROM said JOIN shapes USING (ranks)
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
    """Krippendorff's alpha: of degrees or ranks (`ordinal`), of which of two answers is the better one (`nominal`), and
    the ordinal one by time and by the guidelines' version (its row's id)."""

    ordinal: Interval | None
    nominal: Interval | None
    by_time: dict[str, Interval]
    by_version: dict[str, Interval]


def alphas(project: Project, filters: Filters, *, step: Step = WEEK) -> Alphas:
    """Alpha of the project's judgments; with an annotator in the filters, of the items that they judged. Two queries."""
    return kept(project, filters, "alphas", step.name, count=lambda: _alphas(project, filters, step))


def _alphas(project: Project, filters: Filters, step: Step) -> Alphas:
    where, values = filters.where()
    if filters.annotator:
        where += " AND judgment.item_id IN (SELECT item_id FROM annotation_judgment WHERE annotator_id = %(annotator)s)"
        values["annotator"] = filters.annotator.pk
    values |= {"project": project.pk, "two": project.k == 2} | step.values
    said = SAID.format(where=where)
    parts: dict[str, dict[str, dict[int, Coincidences]]] = {"at": {}, "version": {}}
    for (name, key), blocks in _units(ALPHA.format(said=said, blocks=BLOCKS, bits=BITS), values).items():
        parts[name][key] = {block: agreement.coincidences(units) for block, units in blocks.items()}
    whole: dict[int, list[Coincidences]] = defaultdict(list)
    for then in parts["at"].values():
        for block, met in then.items():
            whole[block].append(met)
    return Alphas(
        ordinal=agreement.alpha_interval(
            {block: agreement.merged(met) for block, met in whole.items()}, level="ordinal"
        ),
        nominal=_nominal(said, values),
        by_time=_intervals(parts["at"]),
        by_version=_intervals(parts["version"]),
    )


def _units(
    query: str, values: dict[str, Any]
) -> dict[tuple[str, str], dict[int, list[tuple[list[int], int]]]]:
    found: dict[tuple[str, str], dict[int, list[tuple[list[int], int]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        for name, key, block, given, times in cursor.fetchall():
            found[name, key][block].append((_unpacked(given), times))
    return found


def _unpacked(given: int) -> list[int]:
    """The values of a unit, from their counts in bits."""
    counts = ((value, given >> BITS * (value - 1) & (1 << BITS) - 1) for value in range(1, VALUES + 1))
    return [value for value, times in counts for _ in range(times)]


def _nominal(said: str, values: dict[str, Any]) -> Interval | None:
    met: dict[int, Coincidences] = {}
    with connection.cursor() as cursor:
        cursor.execute(NOMINAL.format(said=said, shapes=SHAPES, blocks=BLOCKS), values)
        for block, *sums in cursor.fetchall():
            better, worse, tied, turned, better_tied, worse_tied = sums
            # twice where both said the same: each of the two is asked first once
            met[block] = {(1, 1): 2 * better, (2, 2): 2 * worse, (3, 3): 2 * tied}
            met[block] |= dict.fromkeys(((1, 2), (2, 1)), turned)
            met[block] |= dict.fromkeys(((1, 3), (3, 1)), better_tied)
            met[block] |= dict.fromkeys(((2, 3), (3, 2)), worse_tied)
    return agreement.alpha_interval(met, level="nominal")


def _intervals(parts: dict[str, dict[int, Coincidences]]) -> dict[str, Interval]:
    found = {key: agreement.alpha_interval(blocks, level="ordinal") for key, blocks in sorted(parts.items())}
    return {key: interval for key, interval in found.items() if interval is not None}
