"""Runs and models by their id, for those who may see them."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request

from annotation.access import Role, person, project_for
from training.models import ModelVersion, Run
from training.queries import models_of, runs_of

Row = TypeVar("Row", Run, ModelVersion)


def run_for(request: Request, pk: int, *roles: Role) -> Run:
    """
    Raises:
        Http404: there is no such run, or they are not a member of its project.
        PermissionDenied: they are a member in another role.
    """
    run = _visible(Run.objects.all(), request, pk, "run", *roles)
    return cast("Run", runs_of(run.project).get(pk=pk))


def model_for(request: Request, pk: int, *roles: Role) -> ModelVersion:
    """
    Raises:
        Http404: there is no such model, or they are not a member of its project.
        PermissionDenied: they are a member in another role.
    """
    version = _visible(ModelVersion.objects.all(), request, pk, "model", *roles)
    return cast("ModelVersion", models_of(version.project).get(pk=pk))


def _visible(rows: QuerySet[Row, Row], request: Request, pk: int, word: str, *roles: Role) -> Row:
    mine: QuerySet[Any, Any] = rows.filter(pk=pk, project__members__user=person(request))
    row: Row | None = mine.select_related("project").first()
    if row is None:
        raise Http404(f"No such {word}.")
    project_for(request.user, row.project.slug, *roles)
    return row
