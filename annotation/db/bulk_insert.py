"""Bulk inserts by PostgreSQL's COPY, several times faster than INSERT."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
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
    table = connection.ops.quote_name(model._meta.db_table)
    defaults = _defaults(model, names)
    columns = ", ".join(map(connection.ops.quote_name, ["id", *names, *defaults]))
    tail = tuple(defaults.values())
    ids = next_ids(ids_of or model, len(rows)) if ids is None else ids
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
    ):
        for id, row in zip(ids, rows, strict=True):
            copy.write_row((id, *row, *tail))
    return ids


def next_ids(model: type[models.Model], count: int) -> list[int]:
    """Ids for new rows, which nobody else gets."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)",
            [model._meta.db_table, count],
        )
        return [id for (id,) in cursor.fetchall()]


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
