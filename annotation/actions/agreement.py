"""Percent agreement of each item, stored beside it, so that lists by agreement are read from an index."""

from __future__ import annotations

from django.core.cache import cache
from django.db import connection
from django.db.models import Max

from annotation.analytics.agreement import AGREEING_PAIRS, RANKINGS
from annotation.models import Judgment
from annotation.models.judgments import is_current

CURSOR = "agreement:measured"
"""The cache key of the last judgment whose item was measured. If it is lost, all items are measured again."""
BATCH = 5_000
OVERLAP = 200
"""How many of the judgments before the cursor are read again: ids are assigned before their rows become visible."""

UPDATE = f"""
WITH judgments AS MATERIALIZED (
    SELECT judgment.id, judgment.item_id, string_agg(placement.rank::text, '' ORDER BY placement.response_id) AS ranks
    FROM (SELECT DISTINCT item_id FROM annotation_judgment WHERE id > %(after)s AND id <= %(upto)s) AS changed
    JOIN annotation_judgment AS judgment ON judgment.item_id = changed.item_id
    JOIN annotation_placement AS placement ON placement.judgment_id = judgment.id
    WHERE judgment.slot_id IS NOT NULL AND {is_current()}
    GROUP BY judgment.id
), {RANKINGS}
INSERT INTO annotation_agreement (item_id, project_id, share)
SELECT a.item_id, item.project_id, sum({AGREEING_PAIRS})::float / sum(x.pairs)
FROM judgments AS a
JOIN judgments AS b ON b.item_id = a.item_id AND b.id > a.id AND length(b.ranks) = length(a.ranks)
JOIN rankings AS x ON x.ranks = a.ranks
JOIN rankings AS y ON y.ranks = b.ranks
JOIN annotation_item AS item ON item.id = a.item_id
GROUP BY a.item_id, item.project_id
ORDER BY a.item_id
ON CONFLICT (item_id) DO UPDATE SET share = excluded.share WHERE annotation_agreement.share <> excluded.share
"""


def update() -> int:
    """Measure the items with new judgments, in all projects. Returns how many judgments were new, with up to `OVERLAP`
    older ones."""
    newest = Judgment.objects.aggregate(newest=Max("pk"))["newest"] or 0
    cursor_before = cache.get(CURSOR, 0)
    start = done = max(0, cursor_before - OVERLAP) if cursor_before <= newest else 0
    while done < newest:
        upto = min(newest, done + BATCH)
        with connection.cursor() as cursor:
            cursor.execute(UPDATE, {"after": done, "upto": upto})
        done = upto
        cache.set(CURSOR, done, timeout=None)
    return newest - start
