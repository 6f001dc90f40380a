"""A job of a cluster's scheduler, followed through the job directory by whichever worker has claimed its run.

The scheduler is asked only where the directory does not tell: whether a job that no node works on is still to come. It is asked
in a thread, since it may take long to answer.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from training.launch.child import GRACE_S
from training.launch.job import Resources
from training.launch.job_slots import (
    Launch,
    clear_slots,
    exit_code,
    is_any_slot_held,
    read_launch,
    write_launch,
)
from training.launch.scheduler import Scheduler, SchedulerError

log = logging.getLogger(__name__)

TAIL_S = 0.5
MISSES = 3
"""After so many answers in a row that it does not wait or run, a job is over: a new one may not be listed yet."""
ENDS = tuple(f'{{"event": "{event}"'.encode() for event in ("done", "stopped", "error"))
SUBMITTED = {"event": "submitted"}


class ScheduledJob:
    """A job with a name, submitted by this worker or an earlier one.

    submitted: whether the scheduler is known to have it. may_be_submitted: whether an earlier worker may have submitted it; it
    is then looked up first. offset: where its events begin in the file.
    """

    outlives_worker = True

    def __init__(
        self,
        scheduler: Scheduler,
        folder: Path,
        name: str,
        resources: Resources,
        *,
        offset: int,
        submitted: bool,
        may_be_submitted: bool,
        environment: Mapping[str, str],
    ) -> None:
        self.scheduler, self.folder, self.name, self.resources = scheduler, folder, name, resources
        self.submitted, self.may_be_submitted = submitted, submitted or may_be_submitted
        self._launch = Launch(name, resources.nodes, resources.gpus, dict(environment))
        self._offset, self._rest = offset, b""
        self._misses, self._refusal, self._ask_at = 0, "", 0.0
        self._has_end = self._is_done = False  # as its events say
        self._over = False
        self._thread = ThreadPoolExecutor(1)
        self._answer: Future[list[dict[str, Any]]] | None = None
        if not self.may_be_submitted:
            clear_slots(folder, resources.nodes)
        if (earlier := read_launch(folder)) is None or earlier.name != name:
            write_launch(folder, self._launch)

    def poll(self, timeout_s: float) -> list[bytes] | None:
        if lines := self._new_lines():
            return lines if self.submitted else [self._submitted_line(), *lines]
        if self._over:
            return None
        if is_any_slot_held(self.folder, self.resources.nodes):
            self._misses = 0
            if not self.submitted:
                return [self._submitted_line()]
        elif self._has_end:
            self._over = True
            return self._new_lines()  # what was written before the slot was freed
        else:
            return self._ask_scheduler(timeout_s)
        time.sleep(min(timeout_s, TAIL_S))
        return []

    def cancel(self) -> None:
        write_launch(self.folder, self._launch._replace(stop=True))

    def wait(self) -> int | None:
        write_launch(self.folder, self._launch._replace(stop=True))  # a second start of it ends at once
        deadline = time.monotonic() + GRACE_S + 2 * MISSES
        while is_any_slot_held(self.folder, self.resources.nodes) and time.monotonic() < deadline:
            time.sleep(TAIL_S)
        self._thread.shutdown()
        if self._is_done:
            return 0
        try:
            self.scheduler.cancel_job(self.name)
        except SchedulerError as error:  # should it start, it ends at once
            log.warning("the scheduler did not cancel %s: %s", self.name, error)
        return exit_code(self.folder, self.resources.nodes)

    def detach(self) -> None:
        self._thread.shutdown(wait=False)

    def _new_lines(self) -> list[bytes]:
        """The complete lines that were appended since the last call. The file is opened again each time, which has a network
        file system show what other machines wrote."""
        try:
            with (self.folder / "events.jsonl").open("rb") as file:
                file.seek(self._offset)
                chunk = file.read(2**20)
        except FileNotFoundError:
            return []
        self._offset += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        # a process that was killed may leave half a line
        lines = [line for line in lines if line.endswith(b"}")]
        self._has_end = self._has_end or any(line.startswith(ENDS) for line in lines)
        self._is_done = self._is_done or any(line.startswith(ENDS[0]) for line in lines)
        return lines

    def _ask_scheduler(self, timeout_s: float) -> list[bytes]:
        """Have the scheduler asked every `poll_s`, and return what follows from its answer as events."""
        if self._answer is None and time.monotonic() >= self._ask_at:
            self._answer = self._thread.submit(self._exchange)
        if self._answer is None or not self._answer.done():
            time.sleep(min(timeout_s, TAIL_S))
            return []
        events, self._answer = self._answer.result(), None
        self.submitted = (
            self.submitted or SUBMITTED in events
        )  # not before it is told: lines of the job may come first
        self._ask_at = time.monotonic() + self.scheduler.poll_s
        self._over = any(event["event"] == "error" for event in events)
        return [json.dumps(event).encode() for event in events]

    def _exchange(self) -> list[dict[str, Any]]:
        """Submit the job, or ask for it. Returns events for the run."""
        try:
            if not self.may_be_submitted:
                return self._submit()
            if self.scheduler.poll_job(self.name):
                self._misses = 0
                return [] if self.submitted else [SUBMITTED]
        except SchedulerError as error:
            self._refusal = ""
            text = _("The scheduler did not answer, and is asked again: %(reason)s.")
            return [{"event": "warning", "message": text % {"reason": error}}]
        self._misses += 1
        if self._misses < MISSES:
            return []
        if not self.submitted and not self._refusal:
            self.may_be_submitted = False
            return []
        return [{"event": "error", "message": self._refusal or self._end_without_result()}]

    def _submit(self) -> list[dict[str, Any]]:
        self.may_be_submitted, self._misses = True, 0
        try:
            self.scheduler.submit_job(self.folder, self.resources, self.name)
        except SchedulerError as error:
            # it is looked up before it counts as refused, or is submitted again: an answer may be lost after the job was accepted
            text = _("The scheduler refused the job: %(reason)s.")
            self._refusal = text % {"reason": error} if error.answered else ""
            return []
        return [SUBMITTED]

    def _submitted_line(self) -> bytes:
        self.submitted = True
        return json.dumps(SUBMITTED).encode()

    def _end_without_result(self) -> str:
        text = _(
            "The job %(name)s has ended without a result, or the scheduler has lost it; its log: %(path)s. Resume continues from"
            " the last checkpoint."
        )
        return text % {"name": self.name, "path": self.folder / "log.txt"}
