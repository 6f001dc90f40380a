"""Who may get which item, in SQL: what the claim asks of one annotator, and what estimates ask of several at once."""

from __future__ import annotations

# the ids of a project's batches that are open and not overdue: their slots are reserved
ACTIVE_BATCHES = """
    SELECT batch.id FROM annotation_batch AS batch
    WHERE batch.project_id = {project} AND batch.closed_at IS NULL AND batch.due_at > statement_timestamp()
"""
# those of them that a user is not in
BATCHES_OF_OTHERS = f"""{ACTIVE_BATCHES}
      AND NOT EXISTS (SELECT FROM annotation_batchmember AS person
                      WHERE person.batch_id = batch.id AND person.user_id = {{user}})
"""

# An annotator never gets an item in which they have a slot, a judgment, a skip or an answer of their own. OFFSET 0 keeps
# PostgreSQL from turning these into joins, which would begin with everything that the annotator ever judged.
NEW_TO_ANNOTATOR = """
    NOT EXISTS (SELECT FROM annotation_slot AS other
                WHERE other.item_id = {item} AND other.annotator_id = %(annotator)s OFFSET 0)
    AND NOT EXISTS (SELECT FROM annotation_judgment AS judgment
                    WHERE judgment.item_id = {item} AND judgment.annotator_id = %(annotator)s
                      AND judgment.supersedes_id IS NULL OFFSET 0)
    AND NOT EXISTS (SELECT FROM annotation_skip AS skip
                    WHERE skip.item_id = {item} AND skip.annotator_id = %(annotator)s OFFSET 0)
    AND NOT ((SELECT writes FROM member) AND EXISTS (
        SELECT FROM annotation_candidate AS candidate
        JOIN annotation_response AS response ON response.id = candidate.response_id
        JOIN annotation_author AS author ON author.id = response.author_id
        WHERE candidate.item_id = {item} AND author.user_id = %(annotator)s OFFSET 0))
"""
# The same for several people (%(users)s): who of them must not get an item. Lookups by item, so that it takes no longer in a
# project where they have judged much.
CLOSED_TO = """
    SELECT other.annotator_id AS user_id FROM annotation_slot AS other
    WHERE other.item_id = {item} AND other.annotator_id = ANY(%(users)s)
    UNION
    SELECT judgment.annotator_id FROM annotation_judgment AS judgment
    WHERE judgment.item_id = {item} AND judgment.annotator_id = ANY(%(users)s) AND judgment.supersedes_id IS NULL
    UNION
    SELECT skip.annotator_id FROM annotation_skip AS skip
    WHERE skip.item_id = {item} AND skip.annotator_id = ANY(%(users)s)
    UNION
    SELECT author.user_id FROM annotation_candidate AS candidate
    JOIN annotation_response AS response ON response.id = candidate.response_id
    JOIN annotation_author AS author ON author.id = response.author_id
    WHERE %(any_writes)s AND candidate.item_id = {item} AND author.user_id = ANY(%(users)s)
"""
