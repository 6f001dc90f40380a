"""The program's events: JSON lines on stdout, and nothing else there. Of several processes only the main one writes."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from training.core.errors import Stopped
from training.core.process_rank import is_main_process

if TYPE_CHECKING:
    from training.core.trackers import Tracker


class Events:
    """Writes each event as one flushed JSON line, and holds whether the parent has asked the program to stop.

    work_started: whether `start` was called. trackers: receive the metrics too. resources: closed when the run ends, however it
    ends.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._first_progress: tuple[int, float] | None = None
        self.started = time.monotonic()
        self.stop_requested = False
        self.work_started = False
        self.warnings: list[str] = []
        self.trackers: list[Tracker] = []
        self.resources = ExitStack()

    def _write(self, event: str, **values: Any) -> None:
        if not is_main_process():
            return
        try:
            self._stream.write(json.dumps({"event": event, **json_safe(values)}, ensure_ascii=False) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            # the worker was killed, and SIGTERM may be on its way: what was learned is saved all the same
            self.stop_requested = True
            self.close()
            self._stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115

    def close(self) -> None:
        """Close the stream, whether or not anybody reads it."""
        with suppress(BrokenPipeError):
            self._stream.close()

    def start(self, kind: str, total: int, resumed_from: int | None) -> None:
        """Report that the work starts. From here on SIGTERM takes effect at the next `raise_if_stopped`."""
        self.work_started = True
        self._write("start", kind=kind, total=total, resumed_from=resumed_from)

    def progress(self, step: int, total: int, expected_end: float | None = None) -> None:
        """Report `step` of `total`, with the seconds left at the pace since the first report.

        expected_end: the step at which the run is expected to end, where a budget may end it before `total`.
        """
        now = time.monotonic()
        if self._first_progress is None:
            self._first_progress = (step, now)
        first_step, first_time = self._first_progress
        pace = (now - first_time) / (step - first_step) if step > first_step else None
        left = max((total if expected_end is None else expected_end) - step, 0)
        eta = round(pace * left, 1) if pace is not None else None
        self._write("progress", step=step, total=total, eta_s=eta)

    def metrics(self, step: int, values: Mapping[str, float | None]) -> None:
        self._write("metrics", step=step, values=values)
        known = {name: value for name, value in values.items() if value is not None}
        for tracker in self.trackers:
            tracker.log(step, known)

    def precision(self, choice: Mapping[str, Any]) -> None:
        """Report what the precision `default` or `auto` stands for, and the times by which it was chosen."""
        self._write("precision", **choice)

    def warning(self, message: str) -> None:
        self.warnings.append(message)
        self._write("warning", message=message)

    def stopped(self) -> None:
        self._write("stopped")

    def done(self, result: dict[str, Any]) -> None:
        self._write("done", result=result)

    def error(self, message: str, *, setting: str | None = None, line: int | None = None) -> None:
        self._write("error", message=message, setting=setting, line=line)

    def raise_if_stopped(self) -> None:
        """Raise Stopped if SIGTERM was received. Called where the work may be interrupted."""
        if self.stop_requested:
            raise Stopped


@contextmanager
def stdout_events() -> Iterator[Events]:
    """Events on the real stdout; whatever libraries print goes to stderr.

    SIGTERM sets `stop_requested`. Before `Events.start` there is nothing to save, and it raises Stopped at once.
    """
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    events = Events(stream)

    def request_stop(number: int, frame: FrameType | None) -> None:
        events.stop_requested = True
        if not events.work_started:
            raise Stopped

    signal.signal(signal.SIGTERM, request_stop)
    try:
        yield events
    finally:
        for tracker in events.trackers:
            tracker.close()
        events.close()


def json_safe(value: Any) -> Any:
    """`value` with numbers that JSON lacks (nan, inf) as null, and floats rounded to six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return value
