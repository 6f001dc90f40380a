"""The SQL query that turns a batch of judgments into the lines of an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from annotation.exports.formats import (
    FORMATS,
    OF_PEOPLE,
    ORIGIN,
    ORIGIN_OF_PAIR,
    PAIR_MARGIN,
    Format,
    of_judge,
)
from annotation.exports.opinions_sql import OPINIONS
from annotation.exports.selection import Selection
from annotation.logic.erased_text import ERASED

FILTERS = {
    "split": "j.split = %(split)s",
    "tag": "%(tag)s = ANY(j.tags)",
    "annotator": "j.annotator = %(annotator)s",
    "account": "j.account = %(account)s",
    "model": "%(model)s = ANY(j.models)",
    "guideline": "j.guideline = %(guideline)s",
    "round": "j.round = %(round)s",
    "since": "j.created_at >= %(since)s",
    "until": "j.created_at < %(until)s",
    "agreement": "j.agreement >= %(agreement)s",
}

# those of prompts and responses, which opinions have, too
OPINION_FILTERS = ("split", "tag", "model", "round", "since", "until")

# how far apart two answers are: by the degree, or 2 in a ranking, which has no degree
_DISTANCE = (
    "CASE j.degree WHEN 'significantly' THEN 3 WHEN 'slightly' THEN 1 WHEN 'negligibly' THEN 0 ELSE 2 END"
)
_SIDE = "sign(j.ranks[b] - j.ranks[a])"  # 1: the first is preferred

# all votes on each pair of answers of an item; a and b are positions
TALLY = f"""
tally AS (
    SELECT j.item, a, b, count(*) AS votes, count(*) FILTER (WHERE {_SIDE} = 1) AS first_wins,
        count(*) FILTER (WHERE {_SIDE} = -1) AS second_wins, avg({_SIDE} * {PAIR_MARGIN}) AS margin,
        avg(-{_SIDE} * {_DISTANCE}) AS preference,
        json_agg(json_build_object('score', (-{_SIDE} * {_DISTANCE})::int, 'reasoning', j.rationale)
                 ORDER BY j.judgment) AS preferences
    FROM selected AS j CROSS JOIN LATERAL generate_subscripts(j.ranks, 1) AS a
    CROSS JOIN LATERAL generate_subscripts(j.ranks, 1) AS b
    WHERE a < b GROUP BY j.item, a, b)"""

_COLUMNS_OF_ITEM = (
    *("group", "item", "prompt_id", "split", "tags", "round", "messages", "texts", "quoted", "models"),
    *("project", "gold", "metadata"),
)
# each item once, with the ranks that its votes are pooled to
POOLED = f"""
pooled AS (
    SELECT DISTINCT ON (j.item) {", ".join(f'j."{name}"' for name in _COLUMNS_OF_ITEM)},
        NULL::bigint AS judgment, NULL::text AS annotator, NULL::text AS account, NULL::int AS guideline,
        NULL::boolean AS imported, NULL::text AS source, NULL::int[] AS shown_order,
        NULL::boolean AS control, NULL::int[] AS quality, NULL::text AS degree,
        consensus.ranks, consensus.strengths, j.verdict
    FROM selected AS j
    JOIN jsonb_to_recordset(%(consensus)s::jsonb) AS consensus (item bigint, ranks int[], strengths float8[])
      ON consensus.item = j.item
    WHERE cardinality(j.ranks) > 1
    ORDER BY j.item, j.judgment)"""
_BY_RANK = "sign(j.ranks[tally.b] - j.ranks[tally.a])"
SIDES = {
    "majority": f"CASE WHEN j.verdict IS NULL THEN sign(tally.first_wins - tally.second_wins) ELSE {_BY_RANK} END",
    "bradley-terry": _BY_RANK,
    "unanimous": "CASE tally.votes WHEN tally.first_wins THEN 1 WHEN tally.second_wins THEN -1 ELSE 0 END",
}

_JOIN_TALLY = """JOIN tally ON tally.item = j.item
    AND tally.a = least(pair.better, pair.worse) AND tally.b = greatest(pair.better, pair.worse)"""


def votes_query(selection: Selection, source: str) -> str:
    """For each item of a batch: everybody's ranks, and a reviewer's verdict."""
    return f"""WITH {source}, {_selected_judgments(selection)}
SELECT j.item, json_agg(j.ranks ORDER BY j.judgment), max(j.verdict)
FROM selected AS j WHERE cardinality(j.ranks) > 1 GROUP BY j.item"""


def lines_query(selection: Selection, source: str) -> str:
    """The batch's lines as one text, each with its newline."""
    format = FORMATS[selection.format]
    is_pooled = selection.votes != "all"
    rows = _rows(format, selection)
    feedback = OF_PEOPLE if selection.ai != "exclude" else {}
    line = _line(format, feedback, _origin(format) if selection.origin else None)
    parts = [source, _selected_judgments(selection)]
    if is_pooled or format.rows == "duels" or (selection.origin and format.rows == "pairs"):
        parts.append(TALLY)
    if is_pooled:
        parts.append(POOLED)
    return _joined(parts, format, line, rows)


def opinion_lines_query(selection: Selection) -> str:
    """The same of a judge's opinions, each of which counts by itself."""
    format = FORMATS[selection.format]
    conditions = [FILTERS[name] for name in OPINION_FILTERS if getattr(selection, name) is not None]
    conditions += _gold(selection)
    selected = f"""selected AS NOT MATERIALIZED (
    SELECT j.* FROM judgments AS j WHERE {" AND ".join(conditions) or "true"})"""
    line = _line(format, of_judge(format.rows), _origin(format, _NOT_OF_JUDGE) if selection.origin else None)
    rows = _rows(format, replace(selection, votes="all", origin=False))
    return _joined([OPINIONS, selected], format, line, rows)


def _joined(parts: list[str], format: Format, line: str, rows: str) -> str:
    return f"""WITH {", ".join(parts)}
SELECT string_agg(line || E'\\n', '' ORDER BY {_order(format)}) FROM (SELECT {line} AS line, {rows}) AS lines"""


def _selected_judgments(selection: Selection) -> str:
    """The judgments that pass the filters."""
    conditions = [sql for name, sql in FILTERS.items() if getattr(selection, name) is not None]
    if FORMATS[selection.format].for_training or selection.counted:
        conditions.append("j.counted")
    if FORMATS[selection.format].for_training:
        conditions.append(f"(j.messages -> -1 ->> 'content') IS DISTINCT FROM '{ERASED}'")
    if selection.control:
        conditions.append("j.control")
    if selection.imported != "include":
        conditions.append("j.imported" if selection.imported == "only" else "NOT j.imported")
    conditions += _gold(selection)
    return f"""selected AS NOT MATERIALIZED (
    SELECT j.*, NULL::float8[] AS strengths FROM judgments AS j WHERE {" AND ".join(conditions) or "true"})"""


def _gold(selection: Selection) -> list[str]:
    return {"include": [], "only": ["j.gold"], "exclude": ["NOT j.gold"]}[selection.gold]


def _line(format: Format, feedback: Mapping[str, str], origin: str | None) -> str:
    """feedback: the SQL of more columns."""
    if format.rows == "raw":
        return "j.line"
    columns = {name: column.sql for name, column in format.columns.items()} | dict(feedback)
    if origin is not None:
        columns["origin"] = f"json_build_object({origin})::text"
    parts = [f"""'"{name}": ' || {sql}""" for name, sql in columns.items()]
    return "'{' || " + " || ', ' || ".join(parts) + " || '}'"


# of the column `origin`: what only judgments have
_NOT_OF_JUDGE = dict.fromkeys(("item", "judgment", "votes", "agreement"), "NULL")


def _origin(format: Format, replaced: Mapping[str, str] = MappingProxyType({})) -> str:
    columns = ORIGIN | (ORIGIN_OF_PAIR if format.rows == "pairs" else {})
    return ", ".join(f"'{name}', {replaced.get(name, column.sql)}" for name, column in columns.items())


def _order(format: Format) -> str:
    within = {"pairs": ", better, worse", "answers": ", place", "best": ", place", "duels": ", a, b"}
    return '"group", item, judgment' + within.get(format.rows, "")


_KEYS = 'j."group", j.item, j.judgment'


def _rows(format: Format, selection: Selection) -> str:
    """The keys of the order, and the FROM clause."""
    source = "pooled AS j" if selection.votes != "all" else "selected AS j"
    ranked = "cardinality(j.ranks) > 1"
    match format.rows:
        case "raw":
            return f"{_KEYS} FROM selected AS j"
        case "rankings":
            return f"{_KEYS} FROM {source} WHERE {ranked}"
        case "prompts":
            return f"""{_KEYS}
FROM (SELECT DISTINCT ON ("group") * FROM selected ORDER BY "group", item, judgment) AS j"""
        case "duels":
            return f"""{_KEYS}, tally.a, tally.b
FROM (SELECT DISTINCT ON (item) * FROM selected WHERE cardinality(ranks) > 1 ORDER BY item, judgment) AS j
JOIN tally ON tally.item = j.item"""
        case "answers":
            return f"""{_KEYS}, pair.place FROM {source}
CROSS JOIN LATERAL (
    SELECT place, sign(sum(sign(other - j.ranks[place]))) AS side
    FROM generate_subscripts(j.ranks, 1) AS place, unnest(j.ranks) AS other GROUP BY place) AS sides
CROSS JOIN LATERAL (SELECT sides.place, sides.side = 1 AS good WHERE sides.side <> 0) AS pair WHERE {ranked}"""
        case "best":
            return f"""{_KEYS}, j.place FROM (
    SELECT DISTINCT ON ("group", answer) * FROM (
        SELECT j.*, j.quoted[place] AS answer, place
        FROM (SELECT {_BEST} FROM {source}) AS j CROSS JOIN LATERAL generate_subscripts(j.ranks, 1) AS place
        WHERE j.ranks[place] = 1 AND 1 < ANY(j.ranks)
        UNION ALL
        SELECT {_BEST}, to_json(j.demonstration)::text, 0 FROM selected AS j WHERE j.demonstration IS NOT NULL
    ) AS answers ORDER BY "group", answer, judgment, place) AS j"""
        case _:
            return _pairs(selection)


_BEST = ", ".join(
    f'j."{name}"'
    for name in dict.fromkeys(
        (
            *_COLUMNS_OF_ITEM,
            "ranks",
            "judgment",
            "annotator",
            "account",
            "imported",
            "source",
            "guideline",
            "shown_order",
            "control",
        )
    )
)


def _pairs(selection: Selection) -> str:
    keys = f"{_KEYS}, pair.better, pair.worse"
    if selection.votes == "all":
        return f"""{keys} FROM selected AS j
CROSS JOIN LATERAL generate_subscripts(j.ranks, 1) AS above
CROSS JOIN LATERAL generate_subscripts(j.ranks, 1) AS below
CROSS JOIN LATERAL (SELECT above AS better, below AS worse, {PAIR_MARGIN} AS margin) AS pair
{_JOIN_TALLY if selection.origin else ""}
WHERE j.ranks[above] < j.ranks[below]"""
    return f"""{keys} FROM pooled AS j JOIN tally ON tally.item = j.item
CROSS JOIN LATERAL (SELECT {SIDES[selection.votes]} AS side) AS sides
CROSS JOIN LATERAL (
    SELECT CASE sides.side WHEN 1 THEN tally.a ELSE tally.b END AS better,
           CASE sides.side WHEN 1 THEN tally.b ELSE tally.a END AS worse,
           greatest(0.0, sides.side * tally.margin)::float8 AS margin
    WHERE sides.side <> 0) AS pair"""
