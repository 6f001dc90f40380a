"""Runs and models by their id, for those who may see them."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request

from annotation.access import Role, current_user, project_for
from training.models import Loop, ModelVersion, Round, Run
from training.registry.queries import models_of
from training.rounds.queries import rounds_of
from training.runs.queries import runs_of

Row = TypeVar("Row", Run, ModelVersion, Loop)


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


def loop_for(request: Request, pk: int, *roles: Role) -> Loop:
    """
    Raises:
        Http404: there is no such loop, or they are not a member of its project.
        PermissionDenied: they are a member in another role.
    """
    return _visible(Loop.objects.select_related("safety_project"), request, pk, "loop", *roles)


def round_for(request: Request, pk: int, *roles: Role) -> Round:
    """
    Raises:
        Http404: there is no such round, or they are not a member of its project.
        PermissionDenied: they are a member in another role.
    """
    found = Round.objects.select_related("loop__project").filter(pk=pk).first()
    if found is None:
        raise Http404("No such round.")
    project = found.loop.project
    try:
        project_for(request.user, project.slug, *roles)
    except Http404:
        raise Http404("No such round.") from None
    return cast("Round", rounds_of(project).prefetch_related("runs").get(pk=pk))


def _visible(rows: QuerySet[Row, Row], request: Request, pk: int, word: str, *roles: Role) -> Row:
    mine: QuerySet[Any, Any] = rows.filter(pk=pk, project__members__user=current_user(request))
    row: Row | None = mine.select_related("project").first()
    if row is None:
        raise Http404(f"No such {word}.")
    project_for(request.user, row.project.slug, *roles)
    return row
