"""Many judgments at once, by SQL: going through the queue would take minutes."""

from __future__ import annotations

from django.db import connection

from annotation.models import Author, Project, User

PROMPTS = """
WITH prompts AS (
    INSERT INTO annotation_prompt (project_id, external_id, messages, tags, metadata, split, created_at)
    SELECT %(project)s, %(name)s || n, jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'Question ' || n)),
           '{}', '{}', 'train', now()
    FROM generate_series(1, %(count)s) AS n RETURNING id)
INSERT INTO annotation_item (project_id, prompt_id, probability, state, retired_reason, gold_explanation, created_at)
SELECT %(project)s, id, 1, 'open', '', '', now() FROM prompts
"""
RESPONSES = """
INSERT INTO annotation_response (prompt_id, author_id, text, digest, sampling, metadata, created_at)
SELECT prompt.id, %(author)s, 'Answer ' || letter || ' of some length, so that a row weighs something', letter,
       '{}', '{}', now()
FROM annotation_prompt AS prompt, unnest('{A,B,C,D}'::text[]) AS letter
WHERE prompt.project_id = %(project)s AND starts_with(prompt.external_id, %(name)s)
"""
JUDGMENTS = """
WITH slots AS (
    INSERT INTO annotation_slot (item_id, project_id, state, priority, restricted, control, gold, annotator_id)
    SELECT item.id, item.project_id, 'done', 0, false, false, false, %(annotator)s
    FROM annotation_item AS item JOIN annotation_prompt AS prompt ON prompt.id = item.prompt_id
    WHERE item.project_id = %(project)s AND starts_with(prompt.external_id, %(name)s)
    RETURNING id, item_id),
judgments AS (
    INSERT INTO annotation_judgment (item_id, project_id, annotator_id, shown_order, rationale, seconds, idempotency_key,
                                     created_at, slot_id)
    SELECT slots.item_id, item.project_id, %(annotator)s, responses.ids, '', 1, gen_random_uuid(), now(), slots.id
    FROM slots JOIN annotation_item AS item ON item.id = slots.item_id
    JOIN LATERAL (SELECT array_agg(id ORDER BY id) AS ids FROM annotation_response WHERE prompt_id = item.prompt_id)
        AS responses ON true
    RETURNING id, shown_order)
INSERT INTO annotation_placement (judgment_id, response_id, rank, flags)
SELECT judgments.id, shown.response, shown.rank, '{}'
FROM judgments, unnest(shown_order) WITH ORDINALITY AS shown (response, rank)
"""


def fill(project: Project, annotator: User, count: int) -> None:
    """`count` prompts with four answers each, all judged by one person, A > B > C > D."""
    author, _ = Author.objects.get_or_create(project=project, kind="imported", name="bulk")
    values = {
        "project": project.pk,
        "author": author.pk,
        "annotator": annotator.pk,
        "count": count,
        "name": f"{annotator.username}-",
    }
    with connection.cursor() as cursor:
        for statement in (PROMPTS, RESPONSES, JUDGMENTS):
            cursor.execute(statement, values)
        cursor.execute("ANALYZE")
