"""Snapshots of large projects, which a worker creates: asking for one, cancelling it, and the worker's part."""

from __future__ import annotations

import logging
from contextlib import suppress

from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from annotation.actions import notifications, worker_jobs
from annotation.actions.snapshots import SnapshotError, add_snapshot, create_snapshot, next_number, write_file
from annotation.actions.worker_jobs import MAX_ATTEMPTS, Cancelled, Heartbeat, WorkerStops
from annotation.analytics import figures
from annotation.db.consistent_read import consistent_read
from annotation.models import Notification, Project, Snapshot, SnapshotJob, User
from annotation.queries import count_rows
from annotation.store import StoreError, store

log = logging.getLogger(__name__)

State = SnapshotJob.State
TASK = "annotation.tasks.create_snapshot"


class OpenJob(SnapshotError):
    """The project has an open job already."""


# --- for pages and the API ------------------------------------------------------------------------------------


def request_snapshot(
    *, project: Project, creator: User, note: str = "", licence: str = "", imported: bool = False
) -> Snapshot | SnapshotJob:
    """Create a snapshot at once, or have a worker create it if it has more than `figures.LARGE` judgments.

    Raises:
        OpenJob: a worker creates one already.
        SnapshotError: see `create_snapshot`.
    """
    counts = count_rows(project)
    total = counts.slots_done + (counts.imported_judgments if imported else 0)
    if total <= figures.LARGE:
        return create_snapshot(
            project=project, creator=creator, note=note, licence=licence, imported=imported
        )
    try:
        with transaction.atomic():
            job = SnapshotJob.objects.create(
                project=project,
                created_by=creator,
                note=note,
                licence=licence,
                imported=imported,
                judgments_total=total,
            )
    except IntegrityError:
        text = _("A snapshot is being created already: wait until it is done, or cancel it.")
        raise OpenJob(text) from None
    transaction.on_commit(lambda: worker_jobs.wake_worker(TASK, job.pk))
    return job


def cancel(job: SnapshotJob) -> None:
    """Cancel a job: at once if no worker has it yet, else within seconds. There is no snapshot then.

    Raises:
        SnapshotError: it has ended already.
    """
    if not worker_jobs.request_cancel(job):
        raise SnapshotError(_("It has ended already: %(state)s.") % {"state": job.state_label})


# --- for workers ----------------------------------------------------------------------------------------------


def claim(job_id: int) -> SnapshotJob | None:
    """See `worker_jobs.claim`."""
    return worker_jobs.claim(SnapshotJob.objects.select_related("project", "created_by"), job_id)


def run_job(job: SnapshotJob) -> None:
    """Create the snapshot of a claimed job. Its judgments are those of one moment, and others can work on the project while they
    are written; its row, its number and the job's final state are written in one short transaction afterwards. A worker that
    dies leaves no snapshot behind, and the next one starts from the beginning."""
    if job.attempt > MAX_ATTEMPTS:
        _fail(job, _("Its worker died %(n)s times.") % {"n": MAX_ATTEMPTS})
        return
    project = job.project
    try:
        with Heartbeat(job) as heartbeat:
            file = write_file(
                project,
                imported=job.imported,
                scope=f"snapshots/{project.slug}/job-{job.pk}-{job.attempt}",
                name=f"{project.slug}-raw.jsonl",
                reading=consistent_read(),
                on_progress=heartbeat.advance,
            )
            with transaction.atomic():
                snapshot = add_snapshot(
                    file,
                    project=project,
                    number=next_number(project),
                    creator=job.created_by,
                    note=job.note,
                    licence=job.licence,
                )
                if not worker_jobs.finish(
                    job,
                    State.DONE,
                    unless_cancelled=True,
                    snapshot=snapshot,
                    judgments_done=heartbeat.done,
                    judgments_total=heartbeat.done,
                ):
                    with suppress(StoreError):
                        store().delete(file.uri)
                    raise Cancelled
                _notify(job, Notification.Kind.SNAPSHOT_DONE, str(snapshot))
    except Cancelled:
        worker_jobs.finish(job, State.CANCELLED)
    except WorkerStops:
        worker_jobs.requeue(job, TASK)
    except (SnapshotError, StoreError) as error:
        _fail(job, str(error))
    except Exception as error:
        log.exception("snapshot job %s failed", job.pk)
        _fail(job, f"{type(error).__name__}: {error}")


@transaction.atomic
def _fail(job: SnapshotJob, error: str) -> None:
    if worker_jobs.finish(job, State.FAILED, error=error):
        _notify(job, Notification.Kind.SNAPSHOT_FAILED, job.note)


def _notify(job: SnapshotJob, kind: Notification.Kind, subject: str) -> None:
    url = reverse("snapshots", args=[job.project.slug])
    notifications.notify_of_job(job=job, kind=kind, url=url, subject=subject)


def sweep() -> None:
    """Wake workers for jobs whose message was lost or whose worker died."""
    worker_jobs.wake_lost(SnapshotJob.objects.all(), TASK)
