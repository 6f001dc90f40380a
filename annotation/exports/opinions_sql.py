"""SQL for the opinions of a judge in a batch of prompts, with the columns that the formats read of a judgment."""

from __future__ import annotations

# like `judgments_sql.live`: one row `j` for each opinion, whose ranks say which of the two responses is better. The opinion's id
# stands for that of a judgment, by which lines are ordered
OPINIONS = """
batch AS MATERIALIZED (SELECT unnest(%(prompts)s::bigint[]) AS id),
judgments AS NOT MATERIALIZED (
    SELECT opinion.id AS judgment, prompt.id AS "group", NULL::bigint AS item, prompt.external_id AS prompt_id, prompt.split,
        prompt.tags::text[] AS tags, prompt.metadata::text AS metadata, prompt.messages, project.slug AS project,
        array[first.text, second.text] AS texts,
        array[to_json(first.text)::text, to_json(second.text)::text] AS quoted,
        array[first_author.name, second_author.name]::text[] AS models,
        CASE WHEN opinion.p > 0.5 THEN array[1, 2] WHEN opinion.p < 0.5 THEN array[2, 1] ELSE array[1, 1] END AS ranks,
        array[opinion.p, 1 - opinion.p] AS probabilities,
        CASE WHEN opinion.score_first IS NOT NULL THEN array[opinion.score_first, opinion.score_second] END AS strengths,
        (SELECT max(CASE jsonb_typeof(response.sampling -> 'round')
                    WHEN 'number' THEN (response.sampling ->> 'round')::int END)
         FROM annotation_response AS response WHERE response.id IN (first.id, second.id)) AS round,
        EXISTS (SELECT FROM annotation_item AS item
                WHERE item.prompt_id = prompt.id AND item.gold IS NOT NULL) AS gold,
        opinion_set.judge, opinion_set.judge AS annotator, constitution.number AS constitution, opinion_set.created_at,
        NULL::text AS degree, NULL::int[] AS quality, NULL::text AS account, false AS imported, NULL::text AS source,
        NULL::int AS guideline, NULL::int[] AS shown_order, false AS control
    FROM batch
    JOIN annotation_prompt AS prompt ON prompt.id = batch.id
    JOIN annotation_project AS project ON project.id = prompt.project_id
    JOIN annotation_opinion AS opinion ON opinion.prompt_id = prompt.id AND opinion.opinion_set_id = %(opinion_set)s
    JOIN annotation_opinionset AS opinion_set ON opinion_set.id = opinion.opinion_set_id
    LEFT JOIN annotation_constitution AS constitution ON constitution.id = opinion_set.constitution_id
    JOIN annotation_response AS first ON first.id = opinion.first_id
    JOIN annotation_response AS second ON second.id = opinion.second_id
    JOIN annotation_author AS first_author ON first_author.id = first.author_id
    JOIN annotation_author AS second_author ON second_author.id = second.author_id)"""
