"""Reading runs and models."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from annotation.models import Judgment, Project, Prompt, Response
from training.models import ModelVersion, Round, Run


def runs_of(project: Project) -> Any:
    return Run.objects.filter(project=project).select_related(
        "model", "snapshot", "reward_model", "output", "created_by"
    )


def models_of(project: Project) -> Any:
    return ModelVersion.objects.filter(project=project).select_related(
        "parent", "run", "run__snapshot", "run__reward_model__run__snapshot", "author"
    )


def curves(run: Run) -> dict[str, list[list[float]]]:
    """Each measured name's points, `[[step, value], …]`, in order."""
    points: dict[str, list[list[float]]] = {}
    for step, values in run.metrics.values_list("step", "values"):
        for name, value in values.items():
            if value is not None:
                points.setdefault(name, []).append([step, value])
    return points


def run_state(run: Run) -> dict[str, Any]:
    """All that a page which has just connected needs to know, as JSON."""
    return {
        "id": run.pk,
        "kind": run.kind,
        "state": run.state,
        "step": run.step,
        "total": run.total,
        "percent": run.percent,
        "eta_s": run.eta_s,
        "error": run.error,
        "warnings": run.warnings,
        "curves": curves(run),
    }


def samples_of(version: ModelVersion, limit: int = 6) -> list[Response]:
    """A few answers of a policy, with their prompts."""
    return list(
        Response.objects.filter(author=version.author).select_related("prompt").order_by("id")[:limit]
    )


def judgments_behind(version: ModelVersion) -> int:
    """How many judgments went into a model, over its whole line of descent. Snapshots of one project contain their
    predecessors, so the largest one counts."""
    snapshots = [v.run.learned_from for v in version.lineage() if v.run]
    sizes = [snapshot.counts["judgments"] for snapshot in snapshots if snapshot]
    return max(sizes, default=0)


def waiting_for_answers(project: Project) -> int:
    """How many prompts are there that no item has asked about yet."""
    return project.prompts.filter(items=None).count()


def registry(project: Project) -> list[tuple[ModelVersion, int]]:
    """Every model version, newest first, with the judgments behind it; one query, however long the lines are."""
    versions = list(models_of(project))
    by_id = {version.pk: version for version in versions}
    for version in versions:
        if version.parent_id in by_id:  # a safety reward model comes from a policy of another project
            version.parent = by_id[version.parent_id]
    return [(version, judgments_behind(version)) for version in versions]


def demonstrations(project: Project) -> Any:
    """The judgments that are answers which people wrote to training prompts."""
    return (
        Judgment.objects.current()
        .filter(item__project=project, demonstration__isnull=False, item__prompt__split=Prompt.Split.TRAIN)
        .order_by("pk")
    )


def last_rejection(run: Run) -> Run | None:
    """The rejection sampling whose best answers a new one goes on from."""
    if run.round is not None:
        earlier = Run.objects.filter(
            round__loop=run.round.loop_id,
            round__number__lt=run.round.number,
            kind=Run.Kind.REJECTION,
            state=Run.State.DONE,
            superseded=False,
        )
        if (found := earlier.order_by("-pk").first()) is not None:
            return found
    makers = [version.run for version in run.model.lineage()] if run.model else []
    return next((maker for maker in makers if maker and maker.kind == Run.Kind.REJECTION), None)


def rounds_of(project: Project) -> Any:
    """The rounds of a project's loops, newest first."""
    return Round.objects.filter(loop__project=project).select_related(
        "loop__project",
        "loop__safety_project",
        "loop__first_policy",
        "snapshot",
        "safety_snapshot",
        "policy_before__project",
        "policy_after__project",
        "created_by",
        "decided_by",
    )


def answered_by_both(first: ModelVersion, second: ModelVersion) -> Any:
    """Prompts to which two policies have given answers, oldest first."""
    return (
        Prompt.objects.filter(project=first.project, responses__author=first.author)
        .filter(responses__author=second.author)
        .distinct()
        .order_by("pk")
    )


def family(project: Project) -> dict[int, ModelVersion]:
    """Every version that may be behind one of a project's, by id: its own, and those of projects that teach it or that it
    teaches, as a safety project. One query."""
    lent = Run.objects.filter(project=project).values("safety_reward_model__project")
    borrowed = ModelVersion.objects.filter(project=project).values("parent__project")
    versions = ModelVersion.objects.filter(
        Q(project=project) | Q(project__in=lent) | Q(project__in=borrowed)
    ).select_related("project", "run__project", "run__snapshot__project")
    return {version.pk: version for version in versions}
