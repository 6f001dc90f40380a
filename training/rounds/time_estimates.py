"""What a round will take, from what the same parts of earlier rounds took, or else runs of the same kinds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from annotation.models import Project
from training.models import Run

LOOKED_AT = 5
"""Runs of a kind, the newest, that are averaged."""


def of(project: Project, plan: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Seconds and bytes: `{"seconds", "bytes", "unknown": [kinds never run here], "steps": {name: seconds}}`. The parts of a
    step run side by side, so the longest counts; waiting for people is not in it."""
    parts = [part for step in plan for part in step["parts"]]
    known = {part["part"]: _experience(project, part["kind"], part["part"]) for part in parts}
    by_step = {
        step["name"]: max(known[part["part"]][0] for part in step["parts"])
        for step in plan
        if step["parts"] and all(known[part["part"]] for part in step["parts"])
    }
    return {
        "seconds": round(sum(by_step.values())),
        "bytes": sum(known[part["part"]][1] for part in parts if known[part["part"]]),
        "unknown": sorted({part["kind"] for part in parts if not known[part["part"]]}),
        "steps": by_step,
    }


def _experience(project: Project, kind: str, part: str) -> Any:
    """The mean seconds and bytes of the newest runs that were this part of a round, or else of any of its kind but questions
    from the playground; None where there were none."""
    of_kind = Run.objects.filter(project=project, kind=kind, state=Run.State.DONE, result__has_key="seconds")
    of_kind = of_kind.exclude(inputs__has_key="ask").order_by("-pk")
    done = list(of_kind.filter(part=part)[:LOOKED_AT]) or list(of_kind[:LOOKED_AT])
    if not done:
        return None
    seconds = fmean(run.result["seconds"] for run in done)
    return seconds, round(fmean(size_of(run.folder) for run in done))


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where it is gone."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
