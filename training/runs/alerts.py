"""Webhook messages about runs, and finding the runs that are stuck."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from annotation.actions import webhook_delivery
from training.models import Run


def notify_of_run(event: str, run: Run, **data: Any) -> None:
    """Write a message about a run, in the current transaction."""
    webhook_delivery.notify(run.project, event, run=run.pk, kind=run.kind, round=run.round_id, **data)


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
