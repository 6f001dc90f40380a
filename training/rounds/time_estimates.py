"""How long a plan will take and how much disk it will use, estimated from earlier runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber

from annotation.models import Project
from training.models import Run
from training.rounds.steps.base import PlannedStep

Cost = tuple[float, int]
"""Seconds and bytes."""
RECENT_RUNS = 5
"""The newest runs that are averaged."""


def estimate_plan(project: Project, plan: Sequence[PlannedStep]) -> dict[str, Any]:
    """Seconds and bytes: `{"seconds", "run_seconds", "bytes", "unknown": [kinds never run here], "steps": {name: seconds}}`. The
    parts of a step run side by side, so the longest counts, but in `run_seconds`, the sum over all runs, which is what
    accelerators are paid for; waiting for annotators is left out."""
    parts = [part for step in plan for part in step["parts"]]
    recent = _recent_costs(project, {part["kind"] for part in parts})
    costs = {part["part"]: _mean_cost(recent[part["kind"]], part["part"]) for part in parts}
    seconds = {
        step["name"]: max(cost[0] for cost in step_costs if cost)
        for step in plan
        if (step_costs := [costs[part["part"]] for part in step["parts"]]) and all(step_costs)
    }
    return {
        "seconds": round(sum(seconds.values())),
        "run_seconds": round(sum(cost[0] for part in parts if (cost := costs[part["part"]]))),
        "bytes": sum(cost[1] for part in parts if (cost := costs[part["part"]])),
        "unknown": sorted({part["kind"] for part in parts if not costs[part["part"]]}),
        "steps": seconds,
    }


def _recent_costs(project: Project, kinds: Iterable[str]) -> dict[str, dict[str, list[Cost]]]:
    """The costs of recent runs, by kind and part; those of the kind are under "". One query."""
    newest = F("pk").desc()
    runs = (
        Run.objects.filter(project=project, kind__in=kinds, state=Run.State.DONE, result__has_key="seconds")
        .annotate(
            of_kind=Window(RowNumber(), partition_by="kind", order_by=newest),
            of_part=Window(RowNumber(), partition_by=["kind", "part"], order_by=newest),
        )
        .filter(Q(of_kind__lte=RECENT_RUNS) | Q(of_part__lte=RECENT_RUNS))
        .values_list("kind", "part", "of_kind", "of_part", "result__seconds", "result__bytes")
    )
    costs: dict[str, dict[str, list[Cost]]] = defaultdict(lambda: defaultdict(list))
    for kind, part, of_kind, of_part, seconds, size in runs:
        if of_kind <= RECENT_RUNS:
            costs[kind][""].append((seconds, size or 0))
        if part and of_part <= RECENT_RUNS:
            costs[kind][part].append((seconds, size or 0))
    return costs


def _mean_cost(costs: Mapping[str, list[Cost]], part: str) -> Cost | None:
    """(seconds, bytes) of recent runs of the same part or, without any, of the same kind; None without any."""
    recent = costs.get(part) or costs.get("")
    if not recent:
        return None
    return fmean(seconds for seconds, _ in recent), round(fmean(size for _, size in recent))
