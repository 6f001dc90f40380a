"""Merging the rows of projects' counts, which triggers insert, one for each statement."""

from __future__ import annotations

from django.db import connection

from annotation.queries import RowCounts

MANY = 50
"""Rows of a project from which they are merged: as many are summed on every page without being noticed."""

NAMES = ", ".join(RowCounts._fields)
MERGE = f"""
WITH rows AS (
    DELETE FROM annotation_projectcount
    WHERE project_id IN (SELECT project_id FROM annotation_projectcount GROUP BY project_id HAVING count(*) > %(many)s)
    RETURNING *)
INSERT INTO annotation_projectcount (project_id, {NAMES})
SELECT project_id, {", ".join(f"sum({name})" for name in RowCounts._fields)} FROM rows GROUP BY project_id
"""


def merge() -> None:
    """Replace the rows of each project that has many by one with their sums, in one statement: every reader sees either."""
    with connection.cursor() as cursor:
        cursor.execute(MERGE, {"many": MANY})
