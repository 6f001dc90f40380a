"""Reads of rounds."""

from __future__ import annotations

from typing import Any

from annotation.models import Project
from training.models import Round


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
