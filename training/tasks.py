"""The Celery tasks: executing runs, advancing rounds, and the sweeps that resend lost messages.

This is the only module that starts the training core. A run's row in PostgreSQL is the queue; a Celery message only wakes
a worker. The core is a child process, so that running out of memory kills only the core, and its GPU memory is freed.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from celery import shared_task
from celery.utils.log import get_task_logger
from django.conf import settings
from django.core.cache import cache
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from psycopg_pool import PoolTimeout

from annotation.logic.storable_text import storable
from annotation.store import StoreError
from training.configs import KINDS
from training.errors import RunError
from training.models import Round, Run
from training.rounds.schedule import start_due_rounds
from training.rounds.transitions import advance
from training.runs.actions import (
    claim_run,
    finish_run,
    heartbeat,
    lower_memory,
    record_metrics,
    record_progress,
    record_warning,
    requeue_run,
    wake_worker,
)
from training.runs.checkpoints import CheckpointUploads, delete_checkpoint
from training.runs.job_files import write_job
from training.runs.outputs import save_output, store_output, written_bytes

log = get_task_logger(__name__)

DATABASE_UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeout)
MAX_ATTEMPTS = 5
EXIT_TIMEOUT_S = 30.0
"""How long a stopped core may take to write its checkpoint and exit."""
PROGRESS_EVERY_S = 0.25


class StopRun(Exception):
    """The run was cancelled, or another worker has claimed it."""


@shared_task(acks_late=False)
def execute_run(run_id: int) -> None:
    """Execute one run until it ends. A duplicate message finds nothing to claim."""
    run = claim_run(run_id)
    if run is None:
        return
    if run.attempt > MAX_ATTEMPTS:
        text = _("Its worker died %(number)s times. See the run's log.")
        finish_run(run, state=Run.State.FAILED, error=text % {"number": MAX_ATTEMPTS})
        return
    try:
        with _locked_folder(run) as lock:
            with _heartbeats(run):
                write_job(run)
            report = _run_core(run, lock)
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
        report.save(run)


@shared_task(expires=30)
def sweep_runs() -> None:
    """Wake workers for runs whose message was lost, or whose worker sends no heartbeats."""
    now = timezone.now()
    lost = Q(state=Run.State.QUEUED, created_at__lt=now - timedelta(seconds=3))
    silent = Q(state=Run.State.RUNNING, heartbeat_at__lt=now - timedelta(seconds=settings.RUN_STALE_S))
    for run_id in Run.objects.filter(lost | silent).order_by("pk").values_list("pk", flat=True):
        if cache.add(f"woken-run-{run_id}", 1, timeout=10):
            wake_worker(run_id)


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
            text = _("The training process ended with code %(code)s; its log: %(path)s")
            error = text % {"code": self.exit_code, "path": log_path(run)}
            finish_run(run, state=Run.State.FAILED, error=self.error or error)

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
            finish_run(run, state=Run.State.FAILED, error=text % {"error": error})
        else:
            if finished:
                delete_checkpoint(run)


def log_path(run: Run) -> Path:
    """The core's stderr."""
    return run.folder / "log.txt"


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
    deadline = time.monotonic() + EXIT_TIMEOUT_S
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


def _core_command(run: Run) -> list[str]:
    """The command line of the core: one process, or one for each of the worker's accelerators."""
    program = ["-m", "training.core", str(run.folder)]
    if KINDS[run.kind].distributable and settings.TRAINER_PROCESSES > 1:
        spread = ["--standalone", "--nproc-per-node", str(settings.TRAINER_PROCESSES)]
        program = ["-m", "torch.distributed.run", *spread, *program]
    return [sys.executable, *program]


def _run_core(run: Run, lock: int) -> CoreReport:
    """Run the core as a child process and record its events until it ends; stop it when the run is cancelled."""
    report, uploads = CoreReport(), CheckpointUploads(run)
    with log_path(run).open("ab") as stderr, (run.folder / "events.jsonl").open("ab") as events:
        child = subprocess.Popen(
            _core_command(run),
            cwd=settings.BASE_DIR,
            env=os.environ
            | {
                "TOKENIZERS_PARALLELISM": "false",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "REWARD_FUNCTIONS": ",".join(settings.REWARD_FUNCTIONS),
                "SAMPLER_DIR": settings.SAMPLER_DIR,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            pass_fds=[lock],
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        stop_sent = False
        try:
            assert child.stdout is not None
            for line in _read_lines(child.stdout, run, uploads):
                events.write(line + b"\n")
                _record_event(run, json.loads(line), report)
        except StopRun:
            stop_sent = True
            child.terminate()
        except BaseException:
            child.kill()
            raise
        try:
            report.exit_code = child.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            report.exit_code = child.wait()
        report.stopped = report.stopped or (stop_sent and report.exit_code != 0)
    with _heartbeats(run):
        uploads.finish(with_last=report.exit_code != 0)
    return report


def _read_lines(pipe: IO[bytes], run: Run, uploads: CheckpointUploads) -> Iterator[bytes]:
    """The child's lines as they arrive, with heartbeats and uploads of checkpoints in between.

    Raises:
        StopRun: the run was cancelled, or another worker has claimed it.
    """
    os.set_blocking(pipe.fileno(), False)
    rest = b""
    next_heartbeat = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if time.monotonic() >= next_heartbeat:
                if not heartbeat(run):
                    raise StopRun
                uploads.poll()
                next_heartbeat = time.monotonic() + settings.RUN_HEARTBEAT_S
            if not selector.select(timeout=settings.RUN_HEARTBEAT_S / 2):
                continue
            chunk = pipe.read(65536)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _record_event(run: Run, event: dict[str, Any], report: CoreReport) -> None:
    match event["event"]:
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


def _die_with_parent() -> None:
    """Have Linux send the child SIGTERM, on which it writes a checkpoint, when its worker is killed (prctl, PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
