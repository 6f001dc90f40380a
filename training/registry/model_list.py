"""The list of a project's models. There are few enough to sort them in memory."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from annotation.lists.definition import Column, Filter, ListDefinition, Values
from annotation.models import Project
from training.models import ModelVersion
from training.registry.queries import models_with_judgments

STATES = {"current": _("Current"), "other": _("Not current"), "retired": _("Retired")}


@dataclass(frozen=True)
class ModelRow:
    """A model version, and the number of judgments behind it."""

    version: ModelVersion
    judgments: int

    @property
    def pk(self) -> int:
        return self.version.pk

    @property
    def state(self) -> str:
        """A key of `STATES`."""
        return "current" if self.version.current else "retired" if self.version.retired_at else "other"

    @property
    def accuracy(self) -> float | None:
        return self.version.metrics.get("accuracy") or None


def _rows(project: Project, values: Values) -> list[ModelRow]:
    rows = [ModelRow(version, judgments) for version, judgments in models_with_judgments(project)]
    return [row for row in rows if _matches(row, values)]


def _matches(row: ModelRow, values: Values) -> bool:
    return (
        values.get("kind", row.version.kind) == row.version.kind
        and values.get("state", row.state) == row.state
        and values.get("name", "").lower() in row.version.name.lower()
    )


def _parent(row: ModelRow) -> str | None:
    return row.version.parent.name if row.version.parent else None


MODELS = ListDefinition(
    name="models",
    sort="-added",
    columns=(
        Column("name", _("Name"), lambda row: row.version.name, lambda row: row.version.name.lower()),
        Column("kind", _("Kind"), lambda row: row.version.kind, lambda row: row.version.kind),
        Column("state", value=lambda row: row.state),
        Column("parent", _("Parent"), _parent, _parent),
        Column("location", value=lambda row: row.version.location),
        Column(
            "judgments",
            _("Judgments"),
            lambda row: row.judgments,
            lambda row: row.judgments,
            is_number=True,
            descends=True,
        ),
        Column(
            "accuracy",
            _("Held-out accuracy"),
            lambda row: row.accuracy,
            lambda row: row.accuracy,
            is_number=True,
            descends=True,
        ),
        Column("added", _("Added"), lambda row: row.version.created_at, lambda row: row.pk, descends=True),
    ),
    filters=(
        Filter("name", _("Name")),
        Filter("kind", _("Kind"), lambda _project: ModelVersion.Kind.choices),
        Filter("state", _("State"), lambda _project: STATES.items()),
    ),
    rows=_rows,
)
