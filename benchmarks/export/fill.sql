INSERT INTO annotation_prompt (project_id, external_id, messages, tags, metadata, split, created_at)
SELECT %(project)s, %(name)s || n,
       jsonb_build_array(jsonb_build_object('role', 'user', 'content',
           'Question ' || n || ': ' || repeat('how does this "thing" work, and why? ' || n || E'\n', 8))),
       '{}', '{}', CASE n %% 7 WHEN 0 THEN 'held_out' ELSE 'train' END, now()
FROM generate_series(1, %(prompts)s) AS n;
INSERT INTO annotation_item (project_id, prompt_id, probability, state, retired_reason, gold_explanation, created_at)
SELECT project_id, id, 1, 'open', '', '', now() FROM annotation_prompt AS prompt
WHERE project_id = %(project)s;
INSERT INTO annotation_response (prompt_id, author_id, text, digest, sampling, metadata, created_at)
SELECT prompt.id, %(author)s,
       'Answer ' || letter || '. ' || repeat('It works because of ' || letter || E', as one says "here".\n', 10),
       letter || prompt.id, '{}', '{}', now()
FROM annotation_prompt AS prompt, unnest('{A,B,C,D,E,F,G}'::text[]) AS letter
WHERE prompt.project_id = %(project)s;
INSERT INTO annotation_slot (item_id, project_id, state, priority, annotator_id, restricted, control, gold)
SELECT item.id, item.project_id, 'done', 0, %(me)s, false, false, false FROM annotation_item AS item
WHERE item.project_id = %(project)s;
INSERT INTO annotation_judgment (item_id, project_id, annotator_id, shown_order, rationale, seconds, idempotency_key,
                                 created_at, slot_id)
SELECT slot.item_id, item.project_id, %(me)s, responses.ids, '', 31.5, gen_random_uuid(), now(), slot.id
FROM annotation_slot AS slot JOIN annotation_item AS item ON item.id = slot.item_id
JOIN LATERAL (SELECT array_agg(id ORDER BY id) AS ids FROM annotation_response WHERE prompt_id = item.prompt_id)
    AS responses ON true
WHERE slot.project_id = %(project)s;
INSERT INTO annotation_placement (judgment_id, response_id, rank, flags)
SELECT judgment.id, shown.response, shown.rank, '{}'
FROM annotation_judgment AS judgment JOIN annotation_item AS item ON item.id = judgment.item_id,
     unnest(judgment.shown_order) WITH ORDINALITY AS shown (response, rank)
WHERE item.project_id = %(project)s;
