"""SQL for the judgments of a batch, from the tables (`live`) or from the lines of a snapshot (`SNAPSHOT`).

Both define the relation `judgments`, one row per judgment, with the same columns; every format is made from it. Exports are
in the order of prompt (`group`), item and judgment, so that all rows of one prompt are together.
"""

from __future__ import annotations

from annotation.exports.judgment_row import ROW_TYPES, Type
from annotation.logic.degrees import MARGINS
from annotation.models.judgments import is_current, is_excluded


def margin_of(degree: str) -> str:
    """SQL of the margin of a degree; 0 for a ranking, which has no degree."""
    cases = " ".join(f"WHEN '{name}' THEN {margin!r}::float8" for name, margin in MARGINS.items())
    return f"CASE {degree} {cases} ELSE 0.0::float8 END"


def json_float(number: str) -> str:
    """SQL of the JSON text of a float8, always with a decimal point or an exponent: readers that take a column's type from
    its first values must not see integers."""
    return f"CASE WHEN {number} = trunc({number}) THEN ({number})::text || '.0' ELSE ({number})::text END"


def _time(at: str) -> str:
    return f"""to_char({at} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


# over all pairs of annotators and pairs of answers of an item: how often both order them the same way
_AGREEMENT = f"""
CASE WHEN (SELECT count(*) FROM annotation_judgment AS other
           WHERE other.item_id = item.id AND other.slot_id IS NOT NULL AND other.id <= %(newest)s
             AND {is_current("other", up_to="%(newest)s")} AND NOT {is_excluded("other")}) > 1
THEN (SELECT round((sum(first_wins * (first_wins - 1) + second_wins * (second_wins - 1) + ties * (ties - 1))
                    / nullif(sum(votes * (votes - 1)), 0))::numeric, 4)
      FROM (SELECT count(*) AS votes, count(*) FILTER (WHERE a.rank < b.rank) AS first_wins,
                   count(*) FILTER (WHERE a.rank > b.rank) AS second_wins,
                   count(*) FILTER (WHERE a.rank = b.rank) AS ties
            FROM annotation_judgment AS other
            JOIN annotation_placement AS a ON a.judgment_id = other.id
            JOIN annotation_placement AS b ON b.judgment_id = other.id AND b.response_id > a.response_id
            WHERE other.item_id = item.id AND other.slot_id IS NOT NULL AND other.id <= %(newest)s
              AND {is_current("other", up_to="%(newest)s")} AND NOT {is_excluded("other")}
            GROUP BY a.response_id, b.response_id) AS tally)
END"""

_VERDICT = """
(SELECT json_build_object(
    'ranks', (SELECT json_agg((verdict.ranks ->> id::text)::int ORDER BY place)
              FROM unnest(placed.ids) WITH ORDINALITY AS p (id, place)),
    'degree', verdict.degree, 'note', verdict.note)
 FROM annotation_verdict AS verdict WHERE verdict.item_id = item.id ORDER BY verdict.id DESC LIMIT 1)"""

_LEVELS = """
(SELECT json_agg(level ORDER BY rank)
 FROM (SELECT rank, json_agg(place - 1 ORDER BY place) AS level
       FROM unnest(placed.ranks) WITH ORDINALITY AS r (rank, place) GROUP BY rank) AS levels)"""

# the columns of a raw row (`JudgmentRow`), from the tables
_ROW_SQL = {
    "judgment": "judgment.id",
    "project": "project.slug",
    "group": "prompt.id",
    "item": "item.id",
    "prompt_id": "prompt.external_id",
    "split": "prompt.split",
    "tags": "prompt.tags",
    "metadata": "prompt.metadata::text",
    "probability": f"({json_float('item.probability')})::json",
    "round": "placed.round",
    "messages": "prompt.messages",
    "responses": "coalesce(placed.responses, '[]')",
    "ranks": "coalesce(to_json(placed.ranks), '[]')",
    "ranking": f"coalesce({_LEVELS}, '[]')",
    "degree": "judgment.degree",
    "margin": f"({json_float(margin_of('judgment.degree'))})::json",
    "shown_order": """coalesce((SELECT json_agg(array_position(placed.ids, shown.id) - 1 ORDER BY shown.place)
              FROM unnest(judgment.shown_order) WITH ORDINALITY AS shown (id, place)
              WHERE placed.ids IS NOT NULL), '[]')""",
    "demonstration": "written.text",
    "annotator": "annotator.pseudonym",
    "account": "annotator.account",
    "imported": "false",
    "source": "NULL::text",
    "guideline": "guideline.number",
    "questions": "question_set.number",
    "answers": """coalesce((SELECT json_agg(json_build_object('question', key, 'text', value) ORDER BY key)
              FROM jsonb_each_text(judgment.answers)), '[]')""",
    "rationale": "judgment.rationale",
    "seconds": "round(judgment.seconds::numeric, 1)",
    "counted": f"judgment.slot_id IS NOT NULL AND NOT {is_excluded()}",
    "gold": "coalesce(slot.gold, item.gold IS NOT NULL)",
    "control": "coalesce(slot.control, false)",
    "agreement": _AGREEMENT,
    "verdict": _VERDICT,
    "supersedes": "judgment.supersedes_id",
    "details": "NULL::text",
    "chat": "turn.chat_id",
    "turn": "turn.number",
    "created_at": _time("judgment.created_at"),
}
# the same of an imported judgment
_IMPORTED_AT = "coalesce(judgment.judged_at, judgment.created_at)"
_IMPORTED_ROW_SQL = _ROW_SQL | {
    "demonstration": "judgment.details ->> 'demonstration'",
    "annotator": "judgment.annotator",
    "account": "judgment.account",
    "imported": "true",
    "source": "source.name",
    "guideline": "NULL::int",
    "questions": "NULL::int",
    "answers": "'[]'::json",
    "seconds": "CASE jsonb_typeof(judgment.details -> 'seconds') WHEN 'number' THEN judgment.details -> 'seconds' END",
    "counted": "true",
    "gold": "item.gold IS NOT NULL",
    "control": "false",
    "supersedes": "NULL::bigint",
    "details": "judgment.details::text",
    "chat": "NULL::bigint",
    "turn": "NULL::int",
    "created_at": _time(_IMPORTED_AT),
}
# columns of `judgments` that are those of a raw row; the other ones have another type there
_SAME_AS_ROW = (
    *(
        "judgment",
        "group",
        "item",
        "prompt_id",
        "split",
        "metadata",
        "round",
        "messages",
        "degree",
        "rationale",
        "demonstration",
    ),
    *(
        "annotator",
        "account",
        "imported",
        "source",
        "guideline",
        "counted",
        "gold",
        "control",
        "agreement",
        "project",
    ),
)


_RATINGS = """coalesce((SELECT json_agg(json_build_object('question', key, 'value', value::int) ORDER BY key)
                  FROM jsonb_each_text(placement.criteria)), '[]')"""
_COMMENTS = """(SELECT coalesce(json_agg(json_build_object(
                  'quote', quote, 'start', start, 'end', "end", 'text', text)), '[]')
                FROM jsonb_to_recordset(placement.comments) AS comment (quote text, start int, "end" int, text text))"""


def _placed(placements: str, flags: str, ratings: str, comments: str) -> str:
    """The responses of a judgment with their ranks, in the order of their ids."""
    return f"""CROSS JOIN LATERAL (
    SELECT array_agg(response.id ORDER BY response.id) AS ids,
           array_agg(placement.rank::int ORDER BY response.id) AS ranks,
           array_agg(placement.quality::int ORDER BY response.id) AS quality,
           array_agg(response.text ORDER BY response.id) AS texts,
           array_agg(to_json(response.text)::text ORDER BY response.id) AS quoted,
           array_agg(author.name ORDER BY response.id) AS models,
           max(CASE jsonb_typeof(response.sampling -> 'round')
               WHEN 'number' THEN (response.sampling ->> 'round')::int END) AS round,
           json_agg(json_build_object('id', response.id, 'author', author.name, 'text', response.text,
                                      'metadata', response.metadata::text, 'quality', placement.quality,
                                      'safe', placement.safe, 'flags', {flags}, 'ratings', {ratings},
                                      'comments', {comments})
                    ORDER BY response.id) AS responses
    FROM {placements}
    JOIN annotation_response AS response ON response.id = placement.response_id
    JOIN annotation_author AS author ON author.id = response.author_id
) AS placed"""


_OF_PROMPTS = """
FROM batch
JOIN annotation_prompt AS prompt ON prompt.id = batch.id
JOIN annotation_project AS project ON project.id = prompt.project_id
JOIN annotation_item AS item ON item.prompt_id = prompt.id AND item.project_id = prompt.project_id"""

_TABLES = f"""{_OF_PROMPTS}
JOIN annotation_judgment AS judgment ON judgment.item_id = item.id
JOIN annotation_user AS annotator ON annotator.id = judgment.annotator_id
LEFT JOIN annotation_slot AS slot ON slot.id = judgment.slot_id
LEFT JOIN annotation_guideline AS guideline ON guideline.id = judgment.guideline_id
LEFT JOIN annotation_questionset AS question_set ON question_set.id = judgment.question_set_id
LEFT JOIN annotation_response AS written ON written.id = judgment.demonstration_id
LEFT JOIN annotation_turn AS turn ON turn.prompt_id = prompt.id
{
    _placed(
        "(SELECT * FROM annotation_placement WHERE judgment_id = judgment.id) AS placement",
        "placement.flags",
        _RATINGS,
        _COMMENTS,
    )
}
WHERE judgment.id <= %(newest)s AND {is_current(up_to="%(newest)s")}"""

_IMPORTED_TABLES = f"""{_OF_PROMPTS}
JOIN annotation_importedjudgment AS judgment ON judgment.item_id = item.id
LEFT JOIN annotation_import AS source ON source.id = judgment.source_id
{
    _placed(
        "unnest(judgment.responses, judgment.ranks, judgment.quality, judgment.safe) "
        "AS placement (response_id, rank, quality, safe)",
        "coalesce(judgment.details -> 'flags' -> response.id::text, '[]')",
        "coalesce(judgment.details -> 'ratings' -> response.id::text, '[]')",
        "coalesce(judgment.details -> 'comments' -> response.id::text, '[]')",
    )
}
WHERE judgment.id <= %(newest)s"""


def _judgments(row_sql: dict[str, str], tables: str, created_at: str) -> str:
    row = "SELECT " + ", ".join(f'{row_sql[name]} AS "{name}"' for name in ROW_TYPES)
    return f"""
    SELECT {", ".join(f'{row_sql[name]} AS "{name}"' for name in _SAME_AS_ROW)},
        prompt.tags::text[] AS tags, placed.texts, placed.quoted, placed.models, placed.ranks, placed.quality,
        (SELECT array_agg((verdict.ranks ->> id::text)::int ORDER BY place)
         FROM (SELECT ranks FROM annotation_verdict WHERE item_id = item.id ORDER BY id DESC LIMIT 1) AS verdict,
              unnest(placed.ids) WITH ORDINALITY AS p (id, place)) AS verdict,
        ARRAY(SELECT array_position(placed.ids, id) - 1
              FROM unnest(judgment.shown_order) WITH ORDINALITY AS shown (id, place) ORDER BY place) AS shown_order,
        {created_at} AS created_at, (SELECT row_to_json(raw)::text FROM ({row}) AS raw) AS line
    {tables}"""


_BY_ANNOTATORS = _judgments(_ROW_SQL, _TABLES, "judgment.created_at")
_BY_IMPORT = _judgments(_IMPORTED_ROW_SQL, _IMPORTED_TABLES, _IMPORTED_AT)


def live(imported: str) -> str:
    """Judgments of the prompts with the ids %(prompts)s, up to the id %(newest)s; `imported` is `Selection.imported`. The
    planner leaves out columns that a format does not use."""
    judgments = {
        "exclude": _BY_ANNOTATORS,
        "include": f"{_BY_ANNOTATORS} UNION ALL {_BY_IMPORT}",
        "only": _BY_IMPORT,
    }[imported]
    return f"""
batch AS MATERIALIZED (SELECT unnest(%(prompts)s::bigint[]) AS id),
judgments AS NOT MATERIALIZED ({judgments})"""


def _record_type(type: Type) -> str:
    """The PostgreSQL type that a column of a snapshot's line is read as."""
    if isinstance(type, str):
        return {"string": "text", "int64": "bigint", "float64": "numeric", "bool": "boolean"}[type]
    if isinstance(type, list) and isinstance(type[0], str):
        return f"{_record_type(type[0])}[]"
    return "jsonb"


_RECORD = {
    name: _record_type(ROW_TYPES[name])
    for name in (*_SAME_AS_ROW, "tags", "responses", "ranks", "shown_order", "verdict")
} | {"created_at": "timestamptz"}

# judgments from the lines %(lines)s
SNAPSHOT = f"""
judgments AS NOT MATERIALIZED (
    SELECT {", ".join(f'r."{name}"' for name in _SAME_AS_ROW if name != "imported")},
        coalesce(r.imported, false) AS imported, r.tags,
        ARRAY(SELECT e ->> 'text' FROM jsonb_array_elements(r.responses) AS e) AS texts,
        ARRAY(SELECT (e -> 'text')::text FROM jsonb_array_elements(r.responses) AS e) AS quoted,
        ARRAY(SELECT e ->> 'author' FROM jsonb_array_elements(r.responses) AS e) AS models,
        r.ranks, ARRAY(SELECT (e ->> 'quality')::int FROM jsonb_array_elements(r.responses) AS e) AS quality,
        (SELECT array_agg(v::int) FROM jsonb_array_elements_text(nullif(r.verdict, 'null') -> 'ranks') AS v) AS verdict,
        r.shown_order, r.created_at, line
    FROM unnest(%(lines)s::text[]) AS line
    CROSS JOIN LATERAL jsonb_to_record(line::jsonb) AS r (
        {", ".join(f'"{name}" {type}' for name, type in _RECORD.items())}))"""
