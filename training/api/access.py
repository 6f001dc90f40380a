"""Runs, models, pairs of policies, loops and rounds by id, with the check that the caller may access them."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request

from annotation.access import Role, current_user, project_for
from training.comparisons.pairs import Pair
from training.models import Loop, ModelVersion, Round, Run
from training.registry.queries import models_of
from training.rounds.queries import rounds_of
from training.runs.queries import runs_of

Owned = TypeVar("Owned", Run, ModelVersion, Loop)


def run_for(request: Request, pk: int, *roles: Role) -> Run:
    """The run, if the caller has one of the roles in its project.

    Raises:
        Http404: there is no such run, or the caller is not a member of its project.
        PermissionDenied: the caller has another role.
    """
    run = _visible(Run.objects.all(), request, pk, "run", *roles)
    return cast("Run", runs_of(run.project).get(pk=pk))


def model_for(request: Request, pk: int, *roles: Role) -> ModelVersion:
    """The model, if the caller has one of the roles in its project.

    Raises:
        Http404: there is no such model, or the caller is not a member of its project.
        PermissionDenied: the caller has another role.
    """
    version = _visible(ModelVersion.objects.all(), request, pk, "model", *roles)
    return cast("ModelVersion", models_of(version.project).get(pk=pk))


def pair_for(request: Request, slug: str, policy: int, baseline: int, *roles: Role) -> Pair:
    """Two policies of the project, if the caller has one of the roles in it.

    Raises:
        Http404: there are no such two policies in the project, or the caller is not a member of it.
        PermissionDenied: the caller has another role.
    """
    project = project_for(request.user, slug, *roles)
    rows = ModelVersion.objects.filter(project=project, kind=ModelVersion.Kind.POLICY)
    ids = [pk for pk in (policy, baseline) if pk < 2**63]
    found = rows.select_related("author", "project").in_bulk(ids)
    if len(found) < 2:
        raise Http404("No such two policies.")
    return Pair(policy=found[policy], baseline=found[baseline])


def loop_for(request: Request, pk: int, *roles: Role) -> Loop:
    """The loop, if the caller has one of the roles in its project.

    Raises:
        Http404: there is no such loop, or the caller is not a member of its project.
        PermissionDenied: the caller has another role.
    """
    return _visible(Loop.objects.select_related("safety_project"), request, pk, "loop", *roles)


def round_for(request: Request, pk: int, *roles: Role) -> Round:
    """The round, if the caller has one of the roles in its project.

    Raises:
        Http404: there is no such round, or the caller is not a member of its project.
        PermissionDenied: the caller has another role.
    """
    round = Round.objects.select_related("loop__project").filter(pk=pk).first()
    if round is None:
        raise Http404("No such round.")
    project = round.loop.project
    try:
        project_for(request.user, project.slug, *roles)
    except Http404:
        raise Http404("No such round.") from None
    return cast("Round", rounds_of(project).prefetch_related("runs").get(pk=pk))


def _visible(rows: QuerySet[Owned, Owned], request: Request, pk: int, noun: str, *roles: Role) -> Owned:
    mine: QuerySet[Any, Any] = rows.filter(pk=pk, project__members__user=current_user(request))
    row: Owned | None = mine.select_related("project").first()
    if row is None:
        raise Http404(f"No such {noun}.")
    project_for(request.user, row.project.slug, *roles)
    return row
