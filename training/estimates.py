"""What a round will take, from what runs of the same kinds took before."""

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
    kinds = {part["kind"] for step in plan for part in step["parts"]}
    known = {kind: _experience(project, kind) for kind in kinds}
    by_step = {
        step["name"]: max(known[part["kind"]][0] for part in step["parts"])
        for step in plan
        if step["parts"] and all(known[part["kind"]] for part in step["parts"])
    }
    return {
        "seconds": round(sum(by_step.values())),
        "bytes": sum(
            known[part["kind"]][1] for step in plan for part in step["parts"] if known[part["kind"]]
        ),
        "unknown": sorted(kind for kind in kinds if not known[kind]),
        "steps": by_step,
    }


def _experience(project: Project, kind: str) -> Any:
    """The mean seconds and bytes of the newest runs of a kind; None where there were none."""
    done = Run.objects.filter(project=project, kind=kind, state=Run.State.DONE).order_by("-pk")[:LOOKED_AT]
    seconds = [run.result["seconds"] for run in done if "seconds" in run.result]
    if not seconds:
        return None
    return fmean(seconds), round(fmean(size_of(run.folder) for run in done))


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where it is gone."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
