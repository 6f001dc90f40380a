"""The seam: the only module that starts the training core.

A run's row in Postgres is the queue, a Celery message only wakes a worker, and a sweep sends again what was lost. The
core is a child process: when it dies, of memory or otherwise, it takes nobody with it, and its memory on the GPU is free.
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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from celery import shared_task
from celery.utils.log import get_task_logger
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone
from psycopg_pool import PoolTimeout

from annotation.actions.queue import QueueError
from training.configs import KINDS
from training.errors import RunError
from training.models import Round, Run
from training.rounds.schedule import start_due_rounds
from training.rounds.transitions import advance
from training.runs.actions import (
    claim_run,
    finish_run,
    hand_back,
    heartbeat,
    record_metrics,
    record_progress,
    record_warning,
    wake_worker,
)
from training.runs.job_files import write_job
from training.runs.outputs import save_output

log = get_task_logger(__name__)

DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)
MAX_ATTEMPTS = 5
PATIENCE_S = 30.0
PROGRESS_EVERY_S = 0.25


class Stop(Exception):
    """The run was cancelled, or is another worker's by now."""


@shared_task(acks_late=False)
def execute_run(run_id: int) -> None:
    """Work on one run until it is over. A message that comes twice finds nothing to claim."""
    run = claim_run(run_id)
    if run is None:
        return
    if run.attempt > MAX_ATTEMPTS:
        finish_run(
            run, state=Run.State.FAILED, error=f"Its worker died {MAX_ATTEMPTS} times. See the run's log."
        )
        return
    try:
        with _folder_to_ourselves(run) as lock:
            write_job(run)
            outcome = _supervise(run, lock)
    except DATABASE_AWAY:
        raise  # the row is as it was: silent by now, it is claimed again, and goes on from its checkpoint
    except Exception as error:
        log.exception("run %s failed", run.pk)
        finish_run(run, state=Run.State.FAILED, error=f"{type(error).__name__}: {error}")
        return
    outcome.close(run)


@shared_task(expires=30)
def sweep_runs() -> None:
    """Wake workers for runs whose message was lost, or whose worker fell silent."""
    now = timezone.now()
    lost = Q(state=Run.State.QUEUED, created_at__lt=now - timedelta(seconds=3))
    silent = Q(state=Run.State.RUNNING, heartbeat_at__lt=now - timedelta(seconds=settings.RUN_STALE_S))
    for run_id in Run.objects.filter(lost | silent).order_by("pk").values_list("pk", flat=True):
        if cache.add(f"woken-run-{run_id}", 1, timeout=10):
            wake_worker(run_id)


@shared_task(acks_late=False)
def advance_round(round_id: int) -> None:
    """Move a round as far as it can go now; a repeated message finds nothing to do."""
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


class _Outcome:
    """What the core said and how it ended."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.stopped = False
        self.result: dict[str, Any] = {}
        self.error = ""
        self.progress_at = 0.0

    def close(self, run: Run) -> None:
        if self.exit_code == 0:
            self._keep(run)
        elif self.stopped:
            run.refresh_from_db(fields=["cancel_requested"])
            if run.cancel_requested:
                finish_run(run, state=Run.State.CANCELLED)
            else:
                hand_back(run)
        else:
            said = (
                self.error or f"The training process ended with code {self.exit_code}; its log: {log_of(run)}"
            )
            finish_run(run, state=Run.State.FAILED, error=said)

    def _keep(self, run: Run) -> None:
        """The output joins the site and the run closes in one transaction: never one without the other."""
        try:
            with transaction.atomic():
                made = save_output(run)
                if not finish_run(run, state=Run.State.DONE, result=self.result | made):
                    transaction.set_rollback(True)
        except DATABASE_AWAY:
            raise
        except (DatabaseError, OSError, ValueError, RunError, QueueError) as error:
            log.exception("the output of run %s could not be kept", run.pk)
            finish_run(run, state=Run.State.FAILED, error=f"Its output could not be kept: {error}")


def log_of(run: Run) -> Path:
    """What the core's libraries printed."""
    return run.folder / "log.txt"


@contextmanager
def _folder_to_ourselves(run: Run) -> Iterator[int]:
    """Lock the job directory. The child inherits the lock, so an orphan of a killed worker keeps others out until it has
    written its checkpoint and gone."""
    run.folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(run.folder / "lock", os.O_RDWR | os.O_CREAT)
    until = time.monotonic() + PATIENCE_S
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                heartbeat(run)
                time.sleep(0.2)
        yield lock
    finally:
        os.close(lock)


def _program(run: Run) -> list[str]:
    """The command that does the job: one process, or one for each of the worker's accelerators."""
    program = ["-m", "training.core", str(run.folder)]
    if KINDS[run.kind].distributable and settings.TRAINER_PROCESSES > 1:
        spread = ["--standalone", "--nproc-per-node", str(settings.TRAINER_PROCESSES)]
        program = ["-m", "torch.distributed.run", *spread, *program]
    return [sys.executable, *program]


def _supervise(run: Run, lock: int) -> _Outcome:
    """Run the core as a child, writing down what it says, until it ends. It is stopped when the run is cancelled."""
    outcome = _Outcome()
    with log_of(run).open("ab") as errors, (run.folder / "events.jsonl").open("ab") as said:
        child = subprocess.Popen(
            _program(run),
            cwd=settings.BASE_DIR,
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=[lock],
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        told = False
        try:
            assert child.stdout is not None
            for line in _lines(child.stdout, run):
                said.write(line + b"\n")
                _write_down(run, json.loads(line), outcome)
        except Stop:
            told = True
            child.terminate()
        except BaseException:
            child.kill()
            raise
        try:
            outcome.exit_code = child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            outcome.exit_code = child.wait()
        outcome.stopped = outcome.stopped or (told and outcome.exit_code != 0)
    return outcome


def _lines(pipe: IO[bytes], run: Run) -> Iterator[bytes]:
    """The child's lines as they come, with a heartbeat in between.

    Raises:
        Stop: the run is to stop, or no longer ours.
    """
    os.set_blocking(pipe.fileno(), False)
    rest = b""
    beat_at = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if time.monotonic() >= beat_at:
                if not heartbeat(run):
                    raise Stop
                beat_at = time.monotonic() + settings.RUN_HEARTBEAT_S
            if not selector.select(timeout=settings.RUN_HEARTBEAT_S / 2):
                continue
            chunk = pipe.read(65536)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _write_down(run: Run, event: dict[str, Any], outcome: _Outcome) -> None:
    match event["event"]:
        case "start":
            record_progress(run, step=event["resumed_from"] or 0, total=event["total"], eta_s=None)
        case "progress":
            now = time.monotonic()
            if event["step"] >= event["total"] or now >= outcome.progress_at + PROGRESS_EVERY_S:
                outcome.progress_at = now
                record_progress(run, step=event["step"], total=event["total"], eta_s=event["eta_s"])
        case "metrics":
            record_metrics(run, step=event["step"], values=event["values"])
        case "warning":
            record_warning(run, event["message"])
        case "done":
            outcome.result = event["result"]
        case "stopped":
            outcome.stopped = True
        case "error":
            outcome.error = event["message"]


def _die_with_parent() -> None:
    """Linux tells the child to checkpoint and leave when its worker is killed (prctl, PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
