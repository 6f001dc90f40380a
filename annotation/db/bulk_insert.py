"""Bulk inserts by PostgreSQL's COPY, several times faster than INSERT."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import connection, models
from django.db.models.fields import NOT_PROVIDED
from django.utils import timezone


def insert(
    model: type[models.Model],
    names: Sequence[str],
    rows: Collection[Sequence[Any]],
    *,
    ids_of: type[models.Model] | None = None,
    ids: list[int] | None = None,
) -> list[int]:
    """Insert rows, each with a value for every named column. Returns their ids in the same order.

    Values are written as they are: JSON as text. Other columns get their field's default.

    ids_of: the model whose ids go on, if that is another one.
    ids: of the rows, where `next_ids` has reserved them.
    """
    if not rows:
        return []
    ids = next_ids(ids_of or model, len(rows)) if ids is None else ids
    _copy(model, ["id", *names], ((id, *row) for id, row in zip(ids, rows, strict=True)))
    return ids


def insert_without_ids(
    model: type[models.Model], names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """The same for rows whose ids nobody needs: the database gives them."""
    _copy(model, names, rows)


def _copy(model: type[models.Model], names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    table = connection.ops.quote_name(model._meta.db_table)
    defaults = _defaults(model, names)
    columns = ", ".join(map(connection.ops.quote_name, [*names, *defaults]))
    tail = tuple(defaults.values())
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row((*row, *tail))


def next_ids(model: type[models.Model], count: int) -> list[int]:
    """Ids for new rows, which nobody else gets."""
    with connection.cursor() as cursor:
        # the sequence is looked up once (`OFFSET 0`): for each id, that took ten times as long as the id
        cursor.execute(
            """SELECT array_agg(nextval(name)) FROM (
                SELECT pg_get_serial_sequence(%s, 'id')::regclass AS name OFFSET 0) AS sequence, generate_series(1, %s)""",
            [model._meta.db_table, count],
        )
        return cursor.fetchone()[0] or []


def _defaults(model: type[models.Model], names: Sequence[str]) -> dict[str, Any]:
    """The defaults that Django gives to columns not named; columns with a database default are left out."""
    defaults: dict[str, Any] = {}
    for field in model._meta.concrete_fields:
        column = field.attname
        if column in names or field.primary_key or field.db_default is not NOT_PROVIDED:
            continue
        now = getattr(field, "auto_now_add", False) or getattr(field, "auto_now", False)
        value = timezone.now() if now else field.get_default()
        is_json = isinstance(field, models.JSONField)
        defaults[column] = (
            json.dumps(value) if is_json and value is not None else field.get_db_prep_save(value, connection)
        )
    return defaults
