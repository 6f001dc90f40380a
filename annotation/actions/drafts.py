"""Drafts: what is on an annotator's screen, stored while they work on an item."""

from __future__ import annotations

from typing import Any

from annotation.actions.leases import Lease
from annotation.actions.queue import QueueError
from annotation.db import prepared_statements
from annotation.logic.storable_text import UnstorableError, dump_json

# stores nothing once the annotator no longer holds the slot
SAVE = """
WITH renewed AS (
    UPDATE annotation_slot AS slot
    SET leased_until = statement_timestamp() + make_interval(mins => project.lease_minutes)
    FROM annotation_project AS project
    WHERE slot.id = %(slot)s AND slot.token = %(token)s AND slot.state = 'leased' AND project.id = slot.project_id
    RETURNING slot.item_id, slot.annotator_id)
INSERT INTO annotation_draft (item_id, annotator_id, data, saved_at)
SELECT item_id, annotator_id, %(data)s::jsonb, statement_timestamp() FROM renewed
ON CONFLICT (item_id, annotator_id) DO UPDATE SET data = excluded.data, saved_at = excluded.saved_at
RETURNING item_id
"""


def save_draft(*, lease: Lease, data: Any) -> bool:
    """Store any JSON as the annotator's draft of the item, and renew the lease. False if they no longer hold the slot: then
    nothing is stored.

    Raises:
        QueueError: PostgreSQL cannot store it.
    """
    try:
        json = dump_json(data)
    except UnstorableError as error:
        raise QueueError(str(error)) from None
    parameters: dict[str, Any] = {"slot": lease.slot_id, "token": lease.token, "data": json}
    return bool(prepared_statements.rows(SAVE, parameters))
