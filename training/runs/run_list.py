"""The list of a project's runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.lists.definition import Column, Filter, Key, ListDefinition, Text, Values
from annotation.models import Project
from training.models import Run
from training.runs.queries import runs_of

PAGE_SIZE = 25


def _rows(project: Project, values: Values) -> Any:
    names = {"kind": "kind", "state": "state", "who": "created_by__username"}
    return runs_of(project).filter(**{names[name]: value for name, value in values.items() if name in names})


def _creators(project: Project) -> Iterable[tuple[str, Text]]:
    names = (
        Run.objects.filter(project=project)
        .order_by("created_by__username")
        .values_list("created_by__username")
    )
    return [(name, name) for (name,) in names.distinct()]


def _kinds(project: Project) -> Iterable[tuple[str, Text]]:
    """Those of which there are runs."""
    kinds = set(Run.objects.filter(project=project).order_by().values_list("kind", flat=True).distinct())
    return [(value, label) for value, label in Run.Kind.choices if value in kinds]


def _accuracy(run: Run) -> float | None:
    accuracy = (run.result.get("report") or {}).get("accuracy")
    return None if accuracy is None else float(accuracy)


# a project has some thousands of runs at most, which the database sorts in memory
RUNS = ListDefinition(
    name="runs",
    sort="-started",
    size=PAGE_SIZE,
    columns=(
        Column("run", value=lambda run: run.pk),
        Column("kind", _("Run"), lambda run: run.kind, Key((("kind", str), ("id", int)))),
        Column("state", _("State"), lambda run: run.state, Key((("state", str), ("id", int)))),
        Column("model", _("From"), lambda run: run.model or run.config.get("server_model")),
        Column("snapshot", value=lambda run: run.snapshot and run.snapshot.number),
        Column("output", _("Result"), lambda run: getattr(run, "output", None)),
        Column("accuracy", value=_accuracy),
        Column("error", value=lambda run: run.error),
        Column("seconds", value=lambda run: run.result.get("seconds")),
        Column("created_by", value=lambda run: run.created_by.username),
        Column("started", _("Started"), lambda run: run.created_at, Key((("id", int),)), descends=True),
        Column("finished", value=lambda run: run.finished_at),
    ),
    filters=(
        Filter("kind", _("Kind"), _kinds),
        Filter("state", _("State"), lambda _project: Run.State.choices),
        Filter("who", _("Started by"), _creators, every=_("Anyone"), accepts=bool),
    ),
    rows=_rows,
)
