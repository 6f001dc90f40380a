"""Reads of model versions, their ancestors and their responses."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _

from annotation.models import Author, Project, Response
from training.errors import RunError
from training.models import ModelVersion, Round, Run


def models_of(project: Project) -> Any:
    """A project's model versions with their parents, runs, rounds and snapshots, newest first; `is_override`: promoted by a round
    though a gate was not passed."""
    promoted = Round.objects.filter(policy_after=OuterRef("pk"), decision=Round.Decision.PROMOTED)
    return (
        ModelVersion.objects.filter(project=project)
        .select_related(
            *(
                "parent",
                "author",
                "run__snapshot",
                "run__reward_model__run__snapshot",
                "run__round__loop__project",
            )
        )
        .annotate(is_override=Exists(promoted.filter(gates__contains=[{"passed": False, "holds": True}])))
    )


def models_with_judgments(project: Project) -> list[tuple[ModelVersion, int]]:
    """Every model version, newest first, with the number of judgments behind it; one query, however long the lineage."""
    versions = list(models_of(project))
    by_id = {version.pk: version for version in versions}
    for version in versions:
        if version.parent_id in by_id:  # a safety reward model comes from a policy of another project
            version.parent = by_id[version.parent_id]
    return [(version, count_judgments_behind(version)) for version in versions]


def related_models(project: Project) -> dict[int, ModelVersion]:
    """Every version that may be an ancestor of one of a project's, by id; one query.

    These are the project's own, and those of projects that share a safety reward model or a policy with it.
    """
    lent = Run.objects.filter(project=project).values("safety_reward_model__project")
    borrowed = ModelVersion.objects.filter(project=project).values("parent__project")
    versions = ModelVersion.objects.filter(
        Q(project=project) | Q(project__in=lent) | Q(project__in=borrowed)
    ).select_related("project", "run__project", "run__snapshot__project", "run__opinion_set")
    return {version.pk: version for version in versions}


def count_judgments_behind(version: ModelVersion) -> int:
    """The number of judgments that a model and its ancestors learned from.

    A snapshot contains the project's earlier ones, so the largest counts.
    """
    snapshots = [v.run.training_snapshot for v in version.lineage() if v.run]
    sizes = [snapshot.counts["judgments"] for snapshot in snapshots if snapshot]
    return max(sizes, default=0)


def sample_responses(version: ModelVersion, limit: int = 6) -> list[Response]:
    """A policy's first few responses, with their prompts."""
    return list(
        Response.objects.filter(author=version.author).select_related("prompt").order_by("id")[:limit]
    )


def policy_named(field: str, project: Project, name: str) -> ModelVersion:
    """A policy of the project by its name, which the setting `field` has.

    Raises:
        RunError: it has none of that name.
    """
    policies = ModelVersion.objects.filter(project=project, kind=ModelVersion.Kind.POLICY)
    policy = policies.filter(name=name).first()
    if policy is None:
        text = _("This project has no policy called %(name)s.")
        raise RunError(field, text % {"name": repr(name)})
    return policy


def policy_of(project: Project, author: Author | None) -> ModelVersion:
    """The model of an author, or the project's current policy.

    Raises:
        RunError: there is none, or it was retired.
    """
    if author is None:
        own = ModelVersion.objects.filter(project=project, kind=ModelVersion.Kind.POLICY)
        version = own.select_related("author").filter(current=True).first()
        if version is None:
            raise RunError(
                "model", _("The project has no current policy: its lead adds one on the Models page.")
            )
        return version
    version = ModelVersion.objects.select_related("author").filter(author=author).first()
    if version is None or version.removed_at or version.retired_at:
        text = _("The model %(name)s is not there any more: the lead chooses another one for chats.")
        raise RunError("model", text % {"name": author.name})
    return version
