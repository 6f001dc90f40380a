"""How far people agree on each item, kept beside it: a list of the items on which they agree least is read from an index."""

from __future__ import annotations

from django.core.cache import cache
from django.db import connection
from django.db.models import Max

from annotation.analytics.agreement import AGREEING_PAIRS, RANKINGS
from annotation.models import Judgment
from annotation.models.judgments import is_current

DONE = "agreement:measured"
"""In the cache: up to which judgment items were measured. Where it is lost, all are measured again."""
BATCH = 5_000
AGAIN = 200
"""Ids are given before rows can be seen: so many of the last judgments are looked at once more."""

MEASURE = f"""
WITH judgments AS MATERIALIZED (
    SELECT judgment.id, judgment.item_id, string_agg(placement.rank::text, '' ORDER BY placement.response_id) AS ranks
    FROM (SELECT DISTINCT item_id FROM annotation_judgment WHERE id > %(after)s AND id <= %(upto)s) AS fresh
    JOIN annotation_judgment AS judgment ON judgment.item_id = fresh.item_id
    JOIN annotation_placement AS placement ON placement.judgment_id = judgment.id
    WHERE judgment.slot_id IS NOT NULL
      AND {is_current()}
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


def measure() -> int:
    """Measure the items with new judgments, of all projects. Returns how many judgments were new, up to `AGAIN` older ones
    included."""
    newest = Judgment.objects.aggregate(newest=Max("pk"))["newest"] or 0
    before = cache.get(DONE, 0)
    began = done = max(0, before - AGAIN) if before <= newest else 0
    while done < newest:
        upto = min(newest, done + BATCH)
        with connection.cursor() as cursor:
            cursor.execute(MEASURE, {"after": done, "upto": upto})
        done = upto
        cache.set(DONE, done, timeout=None)
    return newest - began
