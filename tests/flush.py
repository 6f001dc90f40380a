"""Emptying the tables after a test whose transactions were committed.

TRUNCATE gives every table and every index a new file: of hundreds, which takes longer than many a test. What a test leaves
is a few rows, and DELETE takes a moment. It leaves dead rows behind, so all is truncated once the tables have grown.
"""

from __future__ import annotations

from typing import Any

from django.db import OperationalError
from django.db.backends.postgresql.operations import DatabaseOperations
from psycopg.errors import DeadlockDetected

TRUNCATE_FROM_BYTES = 16 << 20
KEPT = {"auth_permission", "django_content_type"}
"""What migrations wrote, and would have to write again."""

# TRUNCATE's own lock waits for what a last request is still writing. No trigger and no foreign key is asked, which takes a
# superuser, as whom tests connect to the servers that they start.
EMPTY = """
DO $$
DECLARE
    filled regclass[];
    one regclass;
BEGIN
    LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE;
    filled := ARRAY(
        SELECT oid::regclass FROM pg_class WHERE oid = ANY ('{{{tables}}}'::regclass[]) AND pg_relation_size(oid) > 0
    );
    IF current_setting('is_superuser')::bool
        AND (SELECT coalesce(sum(pg_relation_size(name)), 0) FROM unnest(filled) AS name) < {most}
    THEN
        SET LOCAL session_replication_role = replica;
        FOREACH one IN ARRAY filled LOOP
            EXECUTE format('DELETE FROM %s', one);
        END LOOP;
    ELSE
        SET LOCAL palate.truncate = 'on';  -- the tables that are append-only refuse it otherwise
        TRUNCATE {tables};
    END IF;
END $$
"""


def sql_flush(operations: DatabaseOperations, style: Any, tables: list[str], **_: Any) -> list[str]:
    """The statement that empties the tables; numbers go on where they were."""
    names = ", ".join(operations.quote_name(table) for table in tables if table not in KEPT)
    return [EMPTY.format(tables=names, most=TRUNCATE_FROM_BYTES)]


execute_once = DatabaseOperations.execute_sql_flush


def execute_sql_flush(operations: DatabaseOperations, statements: list[str]) -> None:
    """Run the statements; again where they ran into a deadlock with the last request of a page that was closed."""
    try:
        execute_once(operations, statements)
    except OperationalError as error:
        if not isinstance(error.__cause__, DeadlockDetected):
            raise
        execute_sql_flush(operations, statements)
