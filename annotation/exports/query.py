"""From a selection to one SQL query, which answers a batch of judgments with the lines of a file."""

from __future__ import annotations

from typing import Any

from annotation.exports.formats import FORMATS, ORIGIN, ORIGIN_OF_PAIR, PAIR_MARGIN, Format
from annotation.exports.selection import Selection

FILTERS = {
    "split": "said.split = %(split)s",
    "tag": "%(tag)s = ANY(said.tags)",
    "annotator": "said.annotator = %(annotator)s",
    "account": "said.account = %(account)s",
    "model": "%(model)s = ANY(said.models)",
    "guideline": "said.guideline = %(guideline)s",
    "round": "said.round = %(round)s",
    "since": "said.created_at >= %(since)s",
    "until": "said.created_at < %(until)s",
    "agreement": "said.agreement >= %(agreement)s",
}

# how far apart two answers stand: by the degree, or 2 where a ranking says only which is better
_DISTANCE = (
    "CASE said.degree WHEN 'significantly' THEN 3 WHEN 'slightly' THEN 1 WHEN 'negligibly' THEN 0 ELSE 2 END"
)
_SIDE = "sign(said.ranks[b] - said.ranks[a])"  # 1: the first is preferred

# everybody's votes on every two answers of an item, the first by its place
TALLY = f"""
tally AS (
    SELECT said.item, a, b, count(*) AS votes, count(*) FILTER (WHERE {_SIDE} = 1) AS one,
        count(*) FILTER (WHERE {_SIDE} = -1) AS two, avg({_SIDE} * {PAIR_MARGIN}) AS margin,
        avg(-{_SIDE} * {_DISTANCE}) AS preference,
        json_agg(json_build_object('score', (-{_SIDE} * {_DISTANCE})::int, 'reasoning', said.rationale)
                 ORDER BY said.judgment) AS preferences
    FROM kept AS said CROSS JOIN LATERAL generate_subscripts(said.ranks, 1) AS a
    CROSS JOIN LATERAL generate_subscripts(said.ranks, 1) AS b
    WHERE a < b GROUP BY said.item, a, b)"""

_SAME_OF_ALL = (
    *("prompt", "item", "prompt_id", "split", "tags", "round", "messages", "texts", "quoted", "models"),
    *("project", "gold"),
)
# an item once, with the order that its votes come to
DECIDED = f"""
decided AS (
    SELECT DISTINCT ON (said.item) {", ".join(f"said.{name}" for name in _SAME_OF_ALL)},
        NULL::bigint AS judgment, NULL::text AS annotator, NULL::text AS account, NULL::int AS guideline,
        NULL::int[] AS shown, NULL::boolean AS control, NULL::int[] AS quality, NULL::text AS degree,
        consensus.ranks, consensus.strengths, said.verdict
    FROM kept AS said
    JOIN jsonb_to_recordset(%(consensus)s::jsonb) AS consensus (item bigint, ranks int[], strengths float8[])
      ON consensus.item = said.item
    WHERE cardinality(said.ranks) > 1
    ORDER BY said.item, said.judgment)"""
_BY_RANK = "sign(said.ranks[tally.b] - said.ranks[tally.a])"
SIDES = {
    "majority": f"CASE WHEN said.verdict IS NULL THEN sign(tally.one - tally.two) ELSE {_BY_RANK} END",
    "bradley-terry": _BY_RANK,
    "unanimous": "CASE tally.votes WHEN tally.one THEN 1 WHEN tally.two THEN -1 ELSE 0 END",
}

_TALLIED = """JOIN tally ON tally.item = said.item
    AND tally.a = least(pair.better, pair.worse) AND tally.b = greatest(pair.better, pair.worse)"""


def votes_query(selection: Selection, source: str) -> str:
    """For each item of a batch: what everybody said, and a reviewer's verdict."""
    return f"""WITH {source}, {_kept(selection)}
SELECT said.item, json_agg(said.ranks ORDER BY said.judgment), max(said.verdict)
FROM kept AS said WHERE cardinality(said.ranks) > 1 GROUP BY said.item"""


def lines_query(selection: Selection, source: str) -> str:
    """The batch's lines as one text, each with its newline."""
    format = FORMATS[selection.format]
    pooled = selection.votes != "all"
    line, rows, order = _line(format, selection), _rows(format, selection), _order(format)
    parts = [source, _kept(selection)]
    if pooled or format.rows == "duels" or (selection.origin and format.rows == "pairs"):
        parts.append(TALLY)
    if pooled:
        parts.append(DECIDED)
    return f"""WITH {", ".join(parts)}
SELECT string_agg(line || E'\\n', '' ORDER BY {order}) FROM (SELECT {line} AS line, {rows}) AS lines"""


def _kept(selection: Selection) -> str:
    """The judgments that pass the filters."""
    conditions = [sql for name, sql in FILTERS.items() if getattr(selection, name) is not None]
    if FORMATS[selection.format].trains or selection.counted:
        conditions.append("said.counted")
    if selection.control:
        conditions.append("said.control")
    if selection.gold != "include":
        conditions.append("said.gold" if selection.gold == "only" else "NOT said.gold")
    return f"""kept AS NOT MATERIALIZED (
    SELECT said.*, NULL::float8[] AS strengths FROM said WHERE {" AND ".join(conditions) or "true"})"""


def _line(format: Format, selection: Selection) -> str:
    if format.rows == "raw":
        return "said.line"
    parts = [f"""'"{name}": ' || {column.sql}""" for name, column in format.columns.items()]
    if selection.origin:
        parts.append(f"""'"origin": ' || json_build_object({_origin(format)})::text""")
    return "'{' || " + " || ', ' || ".join(parts) + " || '}'"


def _origin(format: Format) -> str:
    columns = ORIGIN | (ORIGIN_OF_PAIR if format.rows == "pairs" else {})
    return ", ".join(f"'{name}', {sql}" for name, (_, sql) in columns.items())


def _order(format: Format) -> str:
    within = {"pairs": ", better, worse", "answers": ", place", "best": ", place", "duels": ", a, b"}
    return "prompt, item, judgment" + within.get(format.rows, "")


_KEYS = "said.prompt, said.item, said.judgment"


def _rows(format: Format, selection: Selection) -> str:
    """The order's keys and where the rows come from."""
    said = "decided AS said" if selection.votes != "all" else "kept AS said"
    ranked = "cardinality(said.ranks) > 1"
    match format.rows:
        case "raw":
            return f"{_KEYS} FROM kept AS said"
        case "rankings":
            return f"{_KEYS} FROM {said} WHERE {ranked}"
        case "prompts":
            return f"{_KEYS} FROM (SELECT DISTINCT ON (prompt) * FROM kept ORDER BY prompt, item, judgment) AS said"
        case "duels":
            return f"""{_KEYS}, tally.a, tally.b
FROM (SELECT DISTINCT ON (item) * FROM kept WHERE cardinality(ranks) > 1 ORDER BY item, judgment) AS said
JOIN tally ON tally.item = said.item"""
        case "answers":
            return f"""{_KEYS}, pair.place FROM {said}
CROSS JOIN LATERAL (
    SELECT place, sign(sum(sign(other - said.ranks[place]))) AS side
    FROM generate_subscripts(said.ranks, 1) AS place, unnest(said.ranks) AS other GROUP BY place) AS sides
CROSS JOIN LATERAL (SELECT sides.place, sides.side = 1 AS good WHERE sides.side <> 0) AS pair WHERE {ranked}"""
        case "best":
            return f"""{_KEYS}, said.place FROM (
    SELECT DISTINCT ON (prompt, answer) * FROM (
        SELECT said.*, said.quoted[place] AS answer, place
        FROM (SELECT {_BEST} FROM {said}) AS said CROSS JOIN LATERAL generate_subscripts(said.ranks, 1) AS place
        WHERE said.ranks[place] = 1 AND 1 < ANY(said.ranks)
        UNION ALL
        SELECT {_BEST}, to_json(said.demonstration)::text, 0 FROM kept AS said WHERE said.demonstration IS NOT NULL
    ) AS answers ORDER BY prompt, answer, judgment, place) AS said"""
        case _:
            return _pairs(selection)


_BEST = ", ".join(
    f"said.{name}"
    for name in dict.fromkeys(
        (*_SAME_OF_ALL, "ranks", "judgment", "annotator", "account", "guideline", "shown", "control")
    )
)


def _pairs(selection: Selection) -> str:
    keys = f"{_KEYS}, pair.better, pair.worse"
    if selection.votes == "all":
        return f"""{keys} FROM kept AS said
CROSS JOIN LATERAL generate_subscripts(said.ranks, 1) AS above
CROSS JOIN LATERAL generate_subscripts(said.ranks, 1) AS below
CROSS JOIN LATERAL (SELECT above AS better, below AS worse, {PAIR_MARGIN} AS margin) AS pair
{_TALLIED if selection.origin else ""}
WHERE said.ranks[above] < said.ranks[below]"""
    return f"""{keys} FROM decided AS said JOIN tally ON tally.item = said.item
CROSS JOIN LATERAL (SELECT {SIDES[selection.votes]} AS side) AS sides
CROSS JOIN LATERAL (
    SELECT CASE sides.side WHEN 1 THEN tally.a ELSE tally.b END AS better,
           CASE sides.side WHEN 1 THEN tally.b ELSE tally.a END AS worse,
           greatest(0.0, sides.side * tally.margin)::float8 AS margin
    WHERE sides.side <> 0) AS pair"""


def values_of(selection: Selection, **more: Any) -> dict[str, Any]:
    return selection.values() | more
