-- %(items)s judged items with five judgments each, by 480 annotators in 180 days, and a tenth as many that wait
INSERT INTO annotation_prompt (project_id, external_id, messages, tags, metadata, split, created_at)
SELECT %(project)s, 'scale-' || n,
       jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'Question ' || n || ': ' || %(text)s)),
       ARRAY['topic-' || n %% 20], '{}', CASE n %% 10 WHEN 0 THEN 'held_out' ELSE 'train' END, now() - interval '200 days'
FROM generate_series(1, %(items)s * 11 / 10) AS n;

INSERT INTO annotation_response (prompt_id, author_id, text, digest, sampling, metadata, created_at)
SELECT prompt.id, (%(authors)s::bigint[])[1 + (prompt.id + number) %% 12], 'Answer ' || number || '. ' || %(text)s,
       md5(prompt.id || '-' || number), '{}', '{}', prompt.created_at
FROM annotation_prompt AS prompt, generate_series(1, 4) AS number
WHERE prompt.project_id = %(project)s AND prompt.external_id LIKE 'scale-%%'
ORDER BY prompt.id;

INSERT INTO annotation_item (project_id, prompt_id, probability, state, retired_reason, gold_explanation, created_at)
SELECT project_id, id, 1, 'open', '', '', created_at FROM annotation_prompt
WHERE project_id = %(project)s AND external_id LIKE 'scale-%%' ORDER BY id;

INSERT INTO annotation_candidate (item_id, response_id)
SELECT item.id, response.id FROM annotation_item AS item
JOIN annotation_prompt AS prompt ON prompt.id = item.prompt_id
JOIN annotation_response AS response ON response.prompt_id = prompt.id
WHERE item.project_id = %(project)s AND prompt.external_id LIKE 'scale-%%' ORDER BY item.id, response.id;

CREATE TEMPORARY TABLE numbered AS
SELECT item.id, item.prompt_id, row_number() OVER (ORDER BY item.id) AS n,
       (SELECT array_agg(id ORDER BY id) FROM annotation_response WHERE prompt_id = item.prompt_id) AS responses
FROM annotation_item AS item JOIN annotation_prompt AS prompt ON prompt.id = item.prompt_id
WHERE item.project_id = %(project)s AND prompt.external_id LIKE 'scale-%%';

INSERT INTO annotation_slot (item_id, project_id, state, priority, annotator_id, restricted, control, gold)
SELECT id, %(project)s, CASE WHEN n <= %(items)s THEN 'done' ELSE 'open' END, 0,
       CASE WHEN n <= %(items)s THEN (%(people)s::bigint[])[1 + (n * 7 + place * 97) %% 480] END, false, false, false
FROM numbered, generate_series(0, 4) AS place ORDER BY n, place;

INSERT INTO annotation_judgment (item_id, project_id, slot_id, annotator_id, guideline_id, shown_order, rationale, seconds,
                                 idempotency_key, created_at)
SELECT slot.item_id, slot.project_id, slot.id, slot.annotator_id, %(guideline)s, numbered.responses, '', 20 + slot.id %% 60,
       gen_random_uuid(), now() - interval '180 days' * (1 - numbered.n::float / %(items)s)
FROM annotation_slot AS slot JOIN numbered ON numbered.id = slot.item_id
WHERE slot.state = 'done' ORDER BY slot.id;

-- every fiftieth is revised later
INSERT INTO annotation_judgment (item_id, project_id, slot_id, annotator_id, guideline_id, shown_order, rationale, seconds,
                                 idempotency_key, created_at, supersedes_id)
SELECT judgment.item_id, project_id, slot_id, annotator_id, guideline_id, shown_order, 'Revised.', seconds, gen_random_uuid(),
       judgment.created_at + interval '1 hour', judgment.id
FROM annotation_judgment AS judgment JOIN numbered ON numbered.id = judgment.item_id
WHERE judgment.id %% 50 = 0 ORDER BY judgment.id;

-- seven of ten judgments of an item are the same ranking, the others swap pairs of ranks
INSERT INTO annotation_placement (judgment_id, response_id, rank, flags)
SELECT judgment.id, shown.response,
       1 + ((shown.place - 1)::int # (judgment.item_id %% 4)::int # greatest(0, hashint8(judgment.id) %% 10 - 6)), '{}'
FROM annotation_judgment AS judgment JOIN numbered ON numbered.id = judgment.item_id,
     unnest(judgment.shown_order) WITH ORDINALITY AS shown (response, place);

INSERT INTO annotation_agreement (item_id, project_id, share)
SELECT id, %(project)s, 0.4 + 0.6 * (abs(hashint8(id)) %% 1000) / 1000.0 FROM numbered WHERE n <= %(items)s;

INSERT INTO annotation_verdict (item_id, reviewer_id, ranks, note, created_at)
SELECT id, %(me)s, jsonb_build_object(responses[1]::text, 1, responses[2]::text, 2, responses[3]::text, 3,
                                      responses[4]::text, 4), '', now() - interval '1 day'
FROM numbered WHERE n %% 200 = 0 AND n <= %(items)s;

INSERT INTO annotation_skip (item_id, annotator_id, reason, note, seconds, created_at)
SELECT id, (%(people)s::bigint[])[481 + n %% 10], CASE n %% 3 WHEN 0 THEN 'review' ELSE 'broken' END, '', 12,
       now() - interval '180 days' * (1 - least(1, n::float / %(items)s))
FROM numbered WHERE n %% 100 = 0;

INSERT INTO annotation_auditentry (project_id, actor_id, verb, subject, data, at)
SELECT %(project)s, %(me)s, 'project.settings', 'settings', '{}', now() - interval '1 minute' * n
FROM generate_series(1, %(items)s / 10) AS n;

INSERT INTO annotation_notification (user_id, kind, project_id, subject, url, count, created_at)
SELECT (%(people)s::bigint[])[1 + n %% 480], 'batch', %(project)s, 'Batch ' || n, '/?' || n, 1, now() - interval '1 minute' * n
FROM generate_series(1, %(items)s / 10) AS n;

INSERT INTO annotation_delivery (webhook_id, event, body, state, attempts, next_at, answer, problem, created_at)
SELECT id, 'snapshot.frozen', '{}', 'delivered', 1, now(), 'ok', '', now() - interval '1 minute' * n
FROM annotation_webhook, generate_series(1, %(items)s / 10) AS n WHERE project_id = %(project)s;

INSERT INTO annotation_batch (project_id, name, created_by_id, created_at, due_at)
SELECT %(project)s, 'Batch ' || n, %(me)s, now() - interval '1 day' * (n %% 180), now() + interval '1 day' * (n %% 30)
FROM generate_series(1, 200) AS n;

INSERT INTO annotation_batchmember (batch_id, user_id)
SELECT id, (%(people)s::bigint[])[1 + (id * 31 + place * 48) %% 480]
FROM annotation_batch, generate_series(0, 9) AS place WHERE project_id = %(project)s;

UPDATE annotation_slot AS slot SET batch_id = batches.ids[1 + slot.item_id %% 200]
FROM (SELECT array_agg(id) AS ids FROM annotation_batch WHERE project_id = %(project)s) AS batches, numbered
WHERE numbered.id = slot.item_id AND numbered.n %% 20 = 0 AND batches.ids IS NOT NULL;

DROP TABLE numbered;
