"""How long a plan will take and how much disk it will use, estimated from earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from annotation.models import Project
from training.models import Run
from training.rounds.steps.base import PlannedStep

RECENT_RUNS = 5
"""The newest runs that are averaged."""


def estimate_plan(project: Project, plan: Sequence[PlannedStep]) -> dict[str, Any]:
    """Seconds and bytes: `{"seconds", "bytes", "unknown": [kinds never run here], "steps": {name: seconds}}`. The parts of a
    step run side by side, so the longest counts; waiting for annotators is left out."""
    parts = [part for step in plan for part in step["parts"]]
    costs = {part["part"]: _mean_cost(project, part["kind"], part["part"]) for part in parts}
    seconds = {
        step["name"]: max(costs[part["part"]][0] for part in step["parts"])
        for step in plan
        if step["parts"] and all(costs[part["part"]] for part in step["parts"])
    }
    return {
        "seconds": round(sum(seconds.values())),
        "bytes": sum(costs[part["part"]][1] for part in parts if costs[part["part"]]),
        "unknown": sorted({part["kind"] for part in parts if not costs[part["part"]]}),
        "steps": seconds,
    }


def _mean_cost(project: Project, kind: str, part: str) -> Any:
    """(seconds, bytes), averaged over recent runs of the same part or, without any, of the same kind, the playground's left
    out; None without any."""
    of_kind = Run.objects.filter(project=project, kind=kind, state=Run.State.DONE, result__has_key="seconds")
    of_kind = of_kind.exclude(inputs__has_key="ask").order_by("-pk")
    runs = list(of_kind.filter(part=part)[:RECENT_RUNS]) or list(of_kind[:RECENT_RUNS])
    if not runs:
        return None
    return fmean(run.result["seconds"] for run in runs), round(
        fmean(run.result.get("bytes", 0) for run in runs)
    )
