"""What webhooks and people are told of runs, and finding the runs that are stuck."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from annotation.actions import notifications, webhook_delivery
from annotation.models import Notification
from training.models import Run


def notify_of_run(event: str, run: Run, **data: Any) -> None:
    """Write a message about a run, in the current transaction."""
    webhook_delivery.notify(run.project, event, run=run.pk, kind=run.kind, round=run.round_id, **data)


def report_end(run: Run) -> None:
    """Report a run that has just ended, in the current transaction: a failed one to webhooks and leads, one that is done to
    whoever started it. People are not told of the runs of a round: the round tells them."""
    if run.state == Run.State.FAILED:
        notify_of_run("run.failed", run, error=run.error)
    if run.round_id is not None:
        return
    project, url = run.project, run.get_absolute_url()
    if run.state == Run.State.FAILED:
        kind = Notification.Kind.RUN_FAILED
        notifications.notify_leads(kind=kind, project=project, url=url, subject=f"{run}: {run.error}")
    elif run.state == Run.State.DONE:
        kind = Notification.Kind.RUN_DONE
        notifications.notify(users=[run.created_by_id], kind=kind, project=project, url=url, subject=str(run))


def report_stuck_runs() -> int:
    """Report the open runs that have made no progress for `RUN_STUCK_S`, each once until it makes some. A queued run is not stuck
    while other runs are at work: it waits for its turn. Returns how many were reported."""
    now = timezone.now()
    silent = Run.objects.filter(active_at__lt=now - timedelta(seconds=settings.RUN_STUCK_S), stuck_at=None)
    heartbeat = now - timedelta(seconds=settings.RUN_STALE_S)
    are_workers_there = Run.objects.filter(state=Run.State.RUNNING, heartbeat_at__gte=heartbeat).exists()
    states = [Run.State.RUNNING] if are_workers_there else Run.OPEN_STATES
    reported = 0
    for run in silent.filter(state__in=states).select_related("project"):
        with transaction.atomic():
            if silent.filter(pk=run.pk, state=run.state).update(stuck_at=now):
                notify_of_run("run.stuck", run, state=run.state, since=run.active_at.isoformat())
                reported += 1
    return reported
