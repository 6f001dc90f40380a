"""The Celery tasks: executing runs, advancing rounds, and the sweeps that resend lost messages.

This is the only module that starts the training core. A run's row in PostgreSQL is the queue; a Celery message only wakes
a worker. The core is a child process, so that running out of memory kills only the core, and its GPU memory is freed.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any

from celery import shared_task
from celery.utils.log import get_task_logger
from django.conf import settings
from django.core.cache import cache
from django.db import InterfaceError, OperationalError, connection, connections, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from psycopg_pool import PoolTimeout

from annotation.actions import chat_answers
from annotation.logic.storable_text import storable
from annotation.store import StoreError
from config.log_context import log_ids
from config.shutdown import is_stopping
from training.chats import answering, playground
from training.errors import LimitReached, RunError
from training.launch.child import GRACE_S, core_command
from training.launch.devices import Devices, device_names, reserve_devices
from training.launch.job import Job
from training.launch.local_job import LocalJob
from training.launch.scheduled_job import ScheduledJob
from training.models import Round, Run
from training.rounds.schedule import start_due_rounds
from training.rounds.transitions import advance
from training.runs.actions import (
    MAX_LOG_CHARS,
    claim_run,
    finish_run,
    heartbeat,
    lower_memory,
    record_launch,
    record_log,
    record_metrics,
    record_progress,
    record_warning,
    requeue_run,
    wake_worker,
)
from training.runs.alerts import report_stuck_runs
from training.runs.checkpoints import CheckpointUploads, delete_checkpoint
from training.runs.job_files import write_job
from training.runs.outputs import save_output, store_output, written_bytes
from training.runs.queries import has_waited_long, runs_to_claim
from training.runs.resources import run_resources

log = get_task_logger(__name__)

DATABASE_UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeout)
MAX_ATTEMPTS = 5
LOCK_TIMEOUT_S = GRACE_S + 10
"""How long the orphan of a killed worker may take to leave the job directory."""
PROGRESS_EVERY_S = 0.25
ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""Colours and the like, for terminals (ECMA-48, CSI)."""
OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")
"""What progress bars have overwritten."""


class StopRun(Exception):
    """The run was cancelled, another worker has claimed it, or this worker has to stop."""


class HandOver(Exception):
    """The job goes on, and another worker follows it: it has claimed the run, or this worker has to stop."""


@shared_task(acks_late=False)
def execute_run(run_id: int) -> None:
    """Execute the run, or one that comes before it, until it ends. A duplicate message finds nothing to claim."""
    if is_stopping():
        return
    for run in runs_to_claim(run_id):
        with _reserve_devices(run) as devices:
            if devices is None:
                if has_waited_long(run) and run_resources(run).gpus <= settings.GPUS:
                    return  # the GPUs that become free are left for it; until then, smaller runs pass
            elif (claimed := claim_run(run.pk)) is not None:
                if run.pk != run_id:
                    wake_worker(run_id)
                with log_ids(run=run.pk, request_id=run.request_id):
                    _execute(claimed, devices)
                break
    else:
        return
    if settings.GPUS:  # some are free now
        for waiting in Run.objects.filter(state=Run.State.QUEUED).order_by("-priority", "pk")[:20]:
            wake_worker(waiting.pk)


def _execute(run: Run, devices: Devices) -> None:
    """Execute a run that this worker has claimed."""
    log.info("claimed %s run %s, attempt %s", run.kind, run.pk, run.attempt)
    if run.attempt > MAX_ATTEMPTS:
        text = _("Its worker died %(number)s times. See the run's log.")
        finish_run(run, state=Run.State.FAILED, error=text % {"number": MAX_ATTEMPTS})
        return
    try:
        with _locked_folder(run) as lock:
            if not run.launch:
                with _heartbeats(run):
                    write_job(run)
            report = _run_core(run, lock, devices)
    except HandOver:
        return
    except DATABASE_UNAVAILABLE:
        raise  # the row is unchanged: without heartbeats it is claimed again and continues from its checkpoint
    except (RunError, StoreError) as error:
        finish_run(run, state=Run.State.FAILED, error=str(error))
        return
    except Exception as error:
        log.exception("run %s failed", run.pk)
        finish_run(run, state=Run.State.FAILED, error=storable(f"{type(error).__name__}: {error}"))
        return
    with _heartbeats(run):
        record_log(run, _end_of_log(run))
        report.save(run)


@shared_task(expires=30)
def sweep_runs() -> None:
    """Wake workers for runs whose message was lost, that wait for GPUs, or whose worker sends no heartbeats."""
    now = timezone.now()
    lost = Q(state=Run.State.QUEUED, created_at__lt=now - timedelta(seconds=3))
    silent = Q(state=Run.State.RUNNING, heartbeat_at__lt=now - timedelta(seconds=settings.RUN_STALE_S))
    for run_id in Run.objects.filter(lost | silent).order_by("pk").values_list("pk", flat=True):
        if cache.add(f"woken-run-{run_id}", 1, timeout=10):
            wake_worker(run_id)


@shared_task(expires=60)
def sweep_stuck_runs() -> None:
    """Report runs that make no progress."""
    report_stuck_runs()


@shared_task(acks_late=False)
def advance_round(round_id: int) -> None:
    """Advance a round as far as it can go now. A duplicate message finds nothing to do."""
    advance(round_id)


@shared_task(expires=30)
def sweep_rounds() -> None:
    """Start the rounds that are due, and advance those that are working or whose failed run was resumed."""
    start_due_rounds()
    resumed = Q(state=Round.State.FAILED, runs__state__in=Run.OPEN_STATES)
    for round_id in set(
        Round.objects.filter(Q(state=Round.State.WORKING) | resumed).values_list("pk", flat=True)
    ):
        advance(round_id)


class CoreReport:
    """What the core process reported, and how it ended."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.stopped = False
        self.result: dict[str, Any] = {}
        self.error = ""
        self.setting = ""  # which one the error names
        self.progress_at = 0.0

    def save(self, run: Run) -> None:
        """Finish the run, or queue it again if its worker is shutting down."""
        if self.exit_code == 0:
            self._save_output(run)
        elif self.stopped:
            run.refresh_from_db(fields=["cancel_requested"])
            if run.cancel_requested:
                finish_run(run, state=Run.State.CANCELLED)
            else:
                requeue_run(run)
        elif not (self._ran_out_of_memory and lower_memory(run)):
            error = _("The training process ended with code %(code)s.") % {"code": self.exit_code}
            result = {"setting": self.setting} if self.setting else {}
            finish_run(run, state=Run.State.FAILED, result=result, error=self.error or error)

    @property
    def _ran_out_of_memory(self) -> bool:
        """By its own account; or it was killed without a word, as Linux does when memory runs out."""
        return self.setting == "batch_tokens" or self.exit_code == -signal.SIGKILL

    def _save_output(self, run: Run) -> None:
        """Store the output, then save it and finish the run in one transaction."""
        try:
            store_output(run)
            with transaction.atomic():
                result = self.result | {"bytes": written_bytes(run)} | save_output(run)
                finished = finish_run(run, state=Run.State.DONE, result=result)
                transaction.set_rollback(not finished)
        except DATABASE_UNAVAILABLE:
            raise
        except Exception as error:  # one that escaped would leave the run without an end
            log.exception("the output of run %s could not be saved", run.pk)
            text = _("Its output could not be saved: %(error)s")
            result = {"ended_by": error.field} if isinstance(error, LimitReached) else {}
            finish_run(run, state=Run.State.FAILED, result=result, error=text % {"error": error})
        else:
            if finished:
                delete_checkpoint(run)


def _end_of_log(run: Run) -> str:
    """The end of the core's stderr, as far as this machine has it."""
    try:
        with (run.folder / "log.txt").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4 * MAX_LOG_CHARS))
            text = file.read().decode(errors="replace")
            return OVERWRITTEN.sub("", ESCAPE_SEQUENCE.sub("", text))
    except OSError:
        return ""


@contextmanager
def _heartbeats(run: Run) -> Iterator[None]:
    """Heartbeats from a thread, while files are moved to or from the store."""
    ended = threading.Event()

    def beat() -> None:
        try:
            while not ended.wait(settings.RUN_HEARTBEAT_S):
                with suppress(*DATABASE_UNAVAILABLE):
                    heartbeat(run)
        finally:
            connection.close()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _locked_folder(run: Run) -> Iterator[int]:
    """Lock the job directory. The child inherits the lock: the orphan of a killed worker keeps other workers out until it
    has written its checkpoint and exited."""
    run.folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(run.folder / "lock", os.O_RDWR | os.O_CREAT)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                heartbeat(run)
                time.sleep(0.2)
        yield lock
    finally:
        os.close(lock)


def _reserve_devices(run: Run) -> AbstractContextManager[Devices | None]:
    """The GPUs of this machine that a run gets for itself; none where a scheduler, or CUDA_VISIBLE_DEVICES, assigns them."""
    if settings.LAUNCHER or not settings.GPUS:
        return nullcontext(Devices([], []))
    count = run_resources(run).gpus
    return reserve_devices(settings.VAR / "gpus", device_names(settings.GPUS), count)


def _core_command(run: Run) -> list[str]:
    """The command line of the core as a child process."""
    return core_command(run.folder, run_resources(run).gpus)


def _start_job(run: Run, lock: int, devices: Devices) -> Job:
    """Start the core for a run, or follow the job of a scheduler that an earlier worker has submitted.

    Raises:
        RunError: the job's scheduler is not set any more.
    """
    environment = {
        "REWARD_FUNCTIONS": ",".join(settings.REWARD_FUNCTIONS),
        "SAMPLER_DIR": settings.SAMPLER_DIR,
    }
    scheduler = settings.LAUNCHER
    if scheduler is None:
        if run.launch:
            text = _("Its job %(name)s is followed only where LAUNCHER is set.")
            raise RunError("launch", text % {"name": run.launch["name"]})
        return LocalJob(
            run.folder,
            _core_command(run),
            locks=[lock, *devices.locks],
            environment=environment | devices.environment,
            fork_server=settings.FORK_SERVER,
        )
    may_be_submitted = bool(run.launch)
    if not run.launch:
        # written before the job is submitted: whoever takes over looks it up by its name
        events = run.folder / "events.jsonl"
        offset = events.stat().st_size if events.exists() else 0
        name = f"palate-{run.pk}-{str(run.claim)[:8]}"
        if not record_launch(run, name=name, offset=offset, submitted=False):
            raise HandOver
    return ScheduledJob(
        scheduler,
        run.folder,
        run.launch["name"],
        run_resources(run),
        offset=run.launch["offset"],
        submitted=run.launch["submitted"],
        may_be_submitted=may_be_submitted,
        environment=environment,
    )


def _run_core(run: Run, lock: int, devices: Devices) -> CoreReport:
    """Start the core, or follow it, and record its events until it ends; stop it when the run is cancelled."""
    report, uploads = CoreReport(), CheckpointUploads(run)
    job = _start_job(run, lock, devices)
    stop_sent = False
    try:
        for line in _read_lines(job, run, uploads):
            _record_event(run, json.loads(line), report)
    except StopRun:
        stop_sent = True
        job.cancel()
    except BaseException:
        job.detach()
        raise
    with _heartbeats(run):
        report.exit_code = job.wait()
        report.stopped = report.stopped or (stop_sent and report.exit_code != 0)
        uploads.finish(with_last=report.exit_code != 0)
    return report


def _read_lines(job: Job, run: Run, uploads: CheckpointUploads) -> Iterator[bytes]:
    """The job's event lines as they arrive, with heartbeats and uploads of checkpoints in between.

    Raises:
        StopRun, HandOver: see there.
    """
    next_heartbeat = 0.0
    while True:
        if time.monotonic() >= next_heartbeat:
            stopping = is_stopping()
            if stopping or not heartbeat(run):
                goes_on = job.outlives_worker and (stopping or not run.cancel_requested)
                raise HandOver if goes_on else StopRun
            uploads.poll()
            next_heartbeat = time.monotonic() + settings.RUN_HEARTBEAT_S
        lines = job.poll(settings.RUN_HEARTBEAT_S / 2)
        if lines is None:
            return
        yield from lines


def _record_event(run: Run, event: dict[str, Any], report: CoreReport) -> None:
    match event["event"]:
        case "submitted":
            record_launch(run, submitted=True)
        case "start":
            record_progress(run, step=event["resumed_from"] or 0, total=event["total"], eta_s=None)
        case "progress":
            now = time.monotonic()
            if event["step"] >= event["total"] or now >= report.progress_at + PROGRESS_EVERY_S:
                report.progress_at = now
                record_progress(run, step=event["step"], total=event["total"], eta_s=event["eta_s"])
        case "metrics":
            record_metrics(run, step=event["step"], values=event["values"])
        case "warning":
            record_warning(run, storable(event["message"]))
        case "done":
            report.result = event["result"]
        case "stopped":
            report.stopped = True
        case "error":
            report.error, report.setting = storable(event["message"]), event.get("setting") or ""


@shared_task(acks_late=False)
def answer_turn(turn_id: int) -> None:
    """Have two policies answer a message of a chat. A message delivered twice finds nothing to claim."""
    turn = None if is_stopping() else chat_answers.claim(turn_id)
    if turn is not None:
        connections.close_all()  # it is needed for moments only, and the answers take long
        with log_ids(turn=turn.pk):
            asyncio.run(answering.answer_turn(turn))


@shared_task(acks_late=False, expires=600)
def answer_question(key: str) -> None:
    """Have two models answer a question of the playground."""
    question = playground.find(key)
    if question is not None and not question.is_over:
        asyncio.run(answering.answer_question(question))
