"""Reading runs and models."""

from __future__ import annotations

from typing import Any

from annotation.models import Project, Response
from training.models import ModelVersion, Run


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
        if version.parent_id:
            version.parent = by_id[version.parent_id]
    return [(version, judgments_behind(version)) for version in versions]
