"""Jobs of workers: claimed by one worker at a time, followed by their heartbeat, cancelled, and queued again.

The row of a job is the queue: a Celery message only wakes a worker, and a sweep replaces lost messages.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.core.cache import cache
from django.db import connections
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from annotation.models.worker_jobs import WorkerJob
from config.celery import app
from config.shutdown import is_stopping

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
Job = TypeVar("Job", bound=WorkerJob)


class Cancelled(Exception):
    """A lead cancelled the job, or another worker has claimed it."""


class WorkerStops(Exception):
    """The worker was told to stop."""


def claim(jobs: QuerySet[Job], pk: int) -> Job | None:
    """Claim a job that is queued, or whose worker's heartbeat is too old; None if another worker has it."""
    claimed = jobs.filter(Q(state=WorkerJob.QUEUED) | _is_stale(), pk=pk).update(
        state=WorkerJob.RUNNING,
        claim=uuid.uuid4(),
        heartbeat_at=timezone.now(),
        attempt=F("attempt") + 1,
        **{jobs.model.PROGRESS: 0},
    )
    return jobs.get(pk=pk) if claimed else None


def claimed_row(job: Job) -> QuerySet[Job]:
    """The job's row, as long as this worker's claim on it is valid."""
    return _rows(job).filter(claim=job.claim, state=WorkerJob.RUNNING)


def request_cancel(job: WorkerJob, *, waiting: Collection[str] = (WorkerJob.QUEUED,)) -> bool:
    """Cancel a job at once if no worker has it yet, else within seconds. False if it has ended already.

    waiting: the states in which no worker has it.
    """
    changed = _rows(job).filter(state__in=waiting).update(
        state=WorkerJob.CANCELLED, cancel_requested=True, finished_at=timezone.now()
    ) or _rows(job).filter(state=WorkerJob.RUNNING).update(cancel_requested=True)
    job.refresh_from_db()
    return bool(changed)


def finish(job: WorkerJob, state: str, *, unless_cancelled: bool = False, **values: Any) -> bool:
    """Write the final state of a claimed job. False if another worker has claimed it, or if it is cancelled and must not be."""
    rows = claimed_row(job)
    if unless_cancelled:
        rows = rows.filter(cancel_requested=False)
    finished = rows.update(state=state, claim=None, finished_at=timezone.now(), **values)
    if finished:
        job.refresh_from_db()
    return bool(finished)


def requeue(job: WorkerJob, task: str) -> None:
    """Queue a job again; the next worker does it from the beginning."""
    if claimed_row(job).update(state=WorkerJob.QUEUED, claim=None, attempt=F("attempt") - 1):
        wake_worker(task, job.pk)


class Heartbeat:
    """A thread that writes the heartbeat and the progress outside of the job's transaction, and notices a cancellation."""

    def __init__(self, job: WorkerJob) -> None:
        self.job = job
        self.done = 0
        self.stop = False
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join()

    def advance(self, done: int) -> None:
        """
        done: the progress, in the unit of the job's field.

        Raises:
            Cancelled, WorkerStops: see there.
        """
        self.done = done
        if self.stop:
            raise Cancelled
        if is_stopping():
            raise WorkerStops

    def _beat(self) -> None:
        try:
            while not self.ended.wait(min(1.0, settings.RUN_HEARTBEAT_S)):
                with suppress(Exception):  # the database may be unavailable for a moment
                    alive = claimed_row(self.job).filter(cancel_requested=False)
                    progress = {self.job.PROGRESS: self.done}
                    self.stop = not alive.update(heartbeat_at=timezone.now(), **progress)
        finally:
            connections.close_all()


def wake_lost(jobs: QuerySet[Job], task: str) -> None:
    """Wake workers for jobs whose message was lost or whose worker died."""
    lost = Q(state=WorkerJob.QUEUED, created_at__lt=timezone.now() - timedelta(seconds=3))
    for pk in jobs.filter(lost | _is_stale()).order_by("pk").values_list("pk", flat=True):
        if cache.add(f"woken-{task}-{pk}", 1, timeout=10):
            wake_worker(task, pk)


def wake_worker(task: str, pk: int | str) -> None:
    """Send the message that wakes a worker. If the broker is unavailable, the sweep sends it again."""
    try:
        app.send_task(task, [pk], retry=False)
    except Exception:
        log.warning("could not wake a worker for %s(%s)", task, pk, exc_info=True)


def _is_stale() -> Q:
    stale = timezone.now() - timedelta(seconds=settings.RUN_STALE_S)
    return Q(state=WorkerJob.RUNNING, heartbeat_at__lt=stale)


def _rows(job: Job) -> QuerySet[Job]:
    return type(job)._default_manager.filter(pk=job.pk)
