"""Rules for migrations of a site that is not stopped: processes of the release before run on the new schema for a while.

What such a release cannot survive, or what locks a large table, belongs into a later release (*contract*), whose migration
says in a comment why it can be done now: `# contract: nothing has read Item.note since 0.3`.
"""

from __future__ import annotations

import inspect
import re
import sys

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import models
from django.db.migrations import Migration, operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.fields import NOT_PROVIDED

CONTRACT = re.compile(r"^\s*# contract: \S+", re.MULTILINE)
HARMLESS = (
    operations.CreateModel,
    operations.AlterModelOptions,
    operations.AlterModelManagers,
    operations.RemoveConstraint,
    operations.RenameIndex,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
)


def is_contract(migration: Migration) -> bool:
    """Whether its file says why the release before survives it."""
    return bool(CONTRACT.search(inspect.getsource(sys.modules[migration.__module__])))


def problems(migration: Migration, state: ProjectState) -> list[str]:
    """What the release before would not survive, a sentence for each operation. state: of the models before the migration."""
    state = state.clone()
    created: set[str] = set()
    found = []
    for operation in migration.operations:
        before = state.clone()
        operation.state_forwards(migration.app_label, state)
        if isinstance(operation, operations.CreateModel):
            created.add(operation.name_lower)
        model = getattr(operation, "model_name_lower", getattr(operation, "model_name", ""))
        if model in created or isinstance(operation, HARMLESS):
            continue
        if problem := _problem(operation, migration.app_label, before):
            found.append(f"{operation.describe()}: {problem}")
    return found


def _problem(operation: Operation, app: str, before: ProjectState) -> str:
    if isinstance(operation, operations.AddField):
        return _problem_of_new_field(operation.field)
    if isinstance(operation, operations.AlterField):
        old = before.models[app, operation.model_name_lower].fields[operation.name]
        return _problem_of_change(old, operation.field)
    if isinstance(operation, operations.AddIndex):
        return "nobody can write to the table meanwhile; use AddIndexConcurrently, with atomic = False."
    if isinstance(operation, operations.RemoveIndex):
        return "it waits for all who use the table; use RemoveIndexConcurrently, with atomic = False."
    if isinstance(operation, operations.RunSQL | operations.RunPython | operations.SeparateDatabaseAndState):
        return (
            "what it does cannot be seen; say in a `# contract:` comment why the release before survives it."
        )
    return "the release before relies on what it changes."


def _problem_of_new_field(field: models.Field) -> str:
    if field.many_to_many:
        return ""  # a table of its own
    if not field.null and field.db_default is NOT_PROVIDED:
        return "the release before inserts rows without it; make it nullable, or give it a db_default."
    if field.db_index or field.unique:
        return "its index locks the table; set db_index=False, and add the index concurrently."
    return ""


def _problem_of_change(old: models.Field, new: models.Field) -> str:
    before, after = old.deconstruct(), new.deconstruct()
    if before[1] != after[1]:
        return "it changes the column's type."
    ignored = {*new.non_db_attrs, "default"}
    changed = {
        name
        for name in {*before[3], *after[3]} - ignored
        if before[3].get(name, NOT_PROVIDED) != after[3].get(name, NOT_PROVIDED)
    }
    if "null" in changed and new.null:
        changed.discard("null")
    if "max_length" in changed and new.max_length > old.max_length:
        changed.discard("max_length")
    if "db_default" in changed and new.db_default is not NOT_PROVIDED:
        changed.discard("db_default")
    return f"the release before relies on its {', '.join(sorted(changed))}." if changed else ""
