"""Cancelling several runs at once, and taking that back."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from annotation.actions.bulk import Change
from annotation.models import Project, User
from training.errors import RunError
from training.models import Run
from training.runs.actions import cancel_run, resume_run


@transaction.atomic
def cancel(*, project: Project, ids: Collection[int], actor: User, reason: str) -> list[Change]:
    """Cancel runs, as `cancel_run` does each; those that are over, or about to stop, are left as they are."""
    del actor, reason
    changes = []
    for run in Run.objects.filter(project=project, pk__in=ids, cancel_requested=False).order_by("pk"):
        try:
            cancel_run(run)
        except RunError:  # it is over
            continue
        changes.append({"id": run.pk})
    return changes


@transaction.atomic
def undo(*, project: Project, changes: list[Change], actor: User) -> int:
    """Let runs go on that `cancel` stopped: those that still go never stop, those that have stopped are queued again, and
    continue from their checkpoint. Those that were resumed since, or are over, stay. Returns how many go on."""
    del actor
    back = 0
    for run in Run.objects.filter(project=project, pk__in=[change["id"] for change in changes]).order_by(
        "pk"
    ):
        running = Run.objects.filter(pk=run.pk, state=Run.State.RUNNING, cancel_requested=True)
        if running.update(cancel_requested=False):
            back += 1
            continue
        run.refresh_from_db()
        if run.state != Run.State.CANCELLED:
            continue
        try:
            resume_run(run)
        except RunError:
            continue
        back += 1
    return back
