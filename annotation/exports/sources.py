"""Where rows come from: the tables, as they are now, or the lines of a snapshot.

Both give the relation `said`, one row per judgment, with the same columns; every format is made from it. Rows are in the
order of prompt, item and judgment, so that all rows of one prompt stand together.
"""

from __future__ import annotations

from annotation.logic.degrees import MARGINS
from annotation.models.judgments import is_current


def margin_of(degree: str) -> str:
    """SQL: the margin of a degree; of a ranking, which has none, 0."""
    cases = " ".join(f"WHEN '{name}' THEN {margin!r}::float8" for name, margin in MARGINS.items())
    return f"CASE {degree} {cases} ELSE 0.0::float8 END"


# of every two people and every two answers of an item: how often they say the same
_AGREEMENT = f"""
CASE WHEN (SELECT count(*) FROM annotation_judgment AS other
           WHERE other.item_id = item.id AND other.slot_id IS NOT NULL AND other.id <= %(newest)s
             AND {is_current("other", up_to="%(newest)s")}) > 1
THEN (SELECT round((sum(one * (one - 1) + two * (two - 1) + tied * (tied - 1))
                    / nullif(sum(votes * (votes - 1)), 0))::numeric, 4)
      FROM (SELECT count(*) AS votes, count(*) FILTER (WHERE a.rank < b.rank) AS one,
                   count(*) FILTER (WHERE a.rank > b.rank) AS two, count(*) FILTER (WHERE a.rank = b.rank) AS tied
            FROM annotation_judgment AS other
            JOIN annotation_placement AS a ON a.judgment_id = other.id
            JOIN annotation_placement AS b ON b.judgment_id = other.id AND b.response_id > a.response_id
            WHERE other.item_id = item.id AND other.slot_id IS NOT NULL AND other.id <= %(newest)s
              AND {is_current("other", up_to="%(newest)s")}
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

# what the `raw` format has and a snapshot keeps: all that is known of one judgment (`logic.formats.Row`)
ROW = f"""
SELECT judgment.id AS judgment, project.slug AS project, prompt.id AS "group", item.id AS item,
    prompt.external_id AS prompt_id, prompt.split, prompt.tags, item.probability, placed.round, prompt.messages,
    coalesce(placed.responses, '[]') AS responses, coalesce(to_json(placed.ranks), '[]') AS ranks,
    coalesce({_LEVELS}, '[]') AS ranking, judgment.degree, {margin_of("judgment.degree")} AS margin,
    coalesce((SELECT json_agg(array_position(placed.ids, shown.id) - 1 ORDER BY shown.place)
              FROM unnest(judgment.shown_order) WITH ORDINALITY AS shown (id, place)
              WHERE placed.ids IS NOT NULL), '[]') AS shown_order,
    written.text AS demonstration, annotator.pseudonym AS annotator, annotator.account, guideline.number AS guideline,
    judgment.rationale, round(judgment.seconds::numeric, 1) AS seconds, judgment.slot_id IS NOT NULL AS counted,
    coalesce(slot.gold, item.gold IS NOT NULL) AS gold, coalesce(slot.control, false) AS control, {_AGREEMENT} AS agreement,
    {_VERDICT} AS verdict, judgment.supersedes_id AS supersedes,
    to_char(judgment.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at"""

_TABLES = f"""
FROM batch
JOIN annotation_prompt AS prompt ON prompt.id = batch.id
JOIN annotation_project AS project ON project.id = prompt.project_id
JOIN annotation_item AS item ON item.prompt_id = prompt.id AND item.project_id = prompt.project_id
JOIN annotation_judgment AS judgment ON judgment.item_id = item.id
JOIN annotation_user AS annotator ON annotator.id = judgment.annotator_id
LEFT JOIN annotation_slot AS slot ON slot.id = judgment.slot_id
LEFT JOIN annotation_guideline AS guideline ON guideline.id = judgment.guideline_id
LEFT JOIN annotation_response AS written ON written.id = judgment.demonstration_id
CROSS JOIN LATERAL (
    SELECT array_agg(response.id ORDER BY response.id) AS ids,
           array_agg(placement.rank::int ORDER BY response.id) AS ranks,
           array_agg(placement.quality::int ORDER BY response.id) AS quality,
           array_agg(response.text ORDER BY response.id) AS texts,
           array_agg(to_json(response.text)::text ORDER BY response.id) AS quoted,
           array_agg(author.name ORDER BY response.id) AS models,
           max(CASE jsonb_typeof(response.sampling -> 'round')
               WHEN 'number' THEN (response.sampling ->> 'round')::int END) AS round,
           json_agg(json_build_object('id', response.id, 'author', author.name, 'text', response.text,
                                      'quality', placement.quality, 'safe', placement.safe, 'flags', placement.flags)
                    ORDER BY response.id) AS responses
    FROM annotation_placement AS placement
    JOIN annotation_response AS response ON response.id = placement.response_id
    JOIN annotation_author AS author ON author.id = response.author_id
    WHERE placement.judgment_id = judgment.id
) AS placed
WHERE judgment.id <= %(newest)s AND {is_current(up_to="%(newest)s")}"""

# what was said of the prompts whose ids are given as %(prompts)s; columns that a format does not use cost nothing, since the
# planner leaves them out
LIVE = f"""
batch AS MATERIALIZED (SELECT unnest(%(prompts)s::bigint[]) AS id),
said AS NOT MATERIALIZED (
    SELECT judgment.id AS judgment, prompt.id AS prompt, item.id AS item, prompt.external_id AS prompt_id, prompt.split,
        prompt.tags::text[] AS tags, placed.round, prompt.messages, placed.texts, placed.quoted, placed.models, placed.ranks,
        placed.quality, judgment.degree, judgment.rationale, written.text AS demonstration, annotator.pseudonym AS annotator,
        annotator.account, guideline.number AS guideline, judgment.slot_id IS NOT NULL AS counted,
        coalesce(slot.gold, item.gold IS NOT NULL) AS gold, coalesce(slot.control, false) AS control, {_AGREEMENT} AS agreement,
        (SELECT array_agg((verdict.ranks ->> id::text)::int ORDER BY place)
         FROM (SELECT ranks FROM annotation_verdict WHERE item_id = item.id ORDER BY id DESC LIMIT 1) AS verdict,
              unnest(placed.ids) WITH ORDINALITY AS p (id, place)) AS verdict,
        ARRAY(SELECT array_position(placed.ids, id) - 1
              FROM unnest(judgment.shown_order) WITH ORDINALITY AS shown (id, place) ORDER BY place) AS shown,
        judgment.created_at, project.slug AS project,
        (SELECT row_to_json(whole)::text FROM ({ROW}) AS whole) AS line
    {_TABLES})"""

# the same columns from a snapshot's lines, given as %(lines)s
FROZEN = """
said AS NOT MATERIALIZED (
    SELECT r.judgment, r."group" AS prompt, r.item, r.prompt_id, r.split, r.tags, r.round, r.messages,
        ARRAY(SELECT e ->> 'text' FROM jsonb_array_elements(r.responses) AS e) AS texts,
        ARRAY(SELECT (e -> 'text')::text FROM jsonb_array_elements(r.responses) AS e) AS quoted,
        ARRAY(SELECT e ->> 'author' FROM jsonb_array_elements(r.responses) AS e) AS models,
        r.ranks, ARRAY(SELECT (e ->> 'quality')::int FROM jsonb_array_elements(r.responses) AS e) AS quality,
        r.degree, r.rationale, r.demonstration, r.annotator, r.account, r.guideline, r.counted, r.gold, r.control, r.agreement,
        (SELECT array_agg(v::int) FROM jsonb_array_elements_text(nullif(r.verdict, 'null') -> 'ranks') AS v) AS verdict,
        r.shown_order AS shown, r.created_at, r.project, line
    FROM unnest(%(lines)s::text[]) AS line
    CROSS JOIN LATERAL jsonb_to_record(line::jsonb) AS r (
        judgment bigint, "group" bigint, item bigint, prompt_id text, split text, tags text[], round int, messages jsonb,
        responses jsonb, ranks int[], shown_order int[], degree text, rationale text, demonstration text,
        annotator text, account text, guideline int, counted boolean, gold boolean, control boolean, agreement numeric,
        verdict jsonb, created_at timestamptz, project text))"""
