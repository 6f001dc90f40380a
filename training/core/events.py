"""What the program tells its parent: JSON lines on stdout, and nothing else there. Of several processes the first speaks."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from training.core.errors import Stopped
from training.core.process_rank import is_first
from training.core.tensorboard import Board


class Events:
    """Writes events, one flushed JSON line each, and remembers whether the parent asked to stop."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._first: tuple[int, float] | None = None
        self.started = time.monotonic()
        self.stop_asked = False
        self.at_work = False
        self.warnings: list[str] = []
        self.board: Board | None = None

    def _write(self, event: str, **values: Any) -> None:
        if not is_first():
            return
        self._stream.write(json.dumps({"event": event, **_finite(values)}, ensure_ascii=False) + "\n")
        self._stream.flush()

    def start(self, kind: str, total: int, resumed_from: int | None) -> None:
        """The work begins: from here on a SIGTERM waits for the next good moment to leave."""
        self.at_work = True
        self._write("start", kind=kind, total=total, resumed_from=resumed_from)

    def progress(self, step: int, total: int, likely: float | None = None) -> None:
        """Report `step` of `total`; the time left is judged by the pace since the first report. likely: the step at which
        the work is likely to end, where something else than `total` may end it."""
        now = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        first_step, first_time = self._first
        pace = (now - first_time) / (step - first_step) if step > first_step else None
        left = max((total if likely is None else likely) - step, 0)
        eta = round(pace * left, 1) if pace is not None else None
        self._write("progress", step=step, total=total, eta_s=eta)

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        self._write("metrics", step=step, values=values)
        if self.board is not None:
            self.board.scalars(step, values)

    def warning(self, message: str) -> None:
        self.warnings.append(message)
        self._write("warning", message=message)

    def stopped(self) -> None:
        self._write("stopped")

    def done(self, result: dict[str, Any]) -> None:
        self._write("done", result=result)

    def error(self, message: str, *, setting: str | None = None, line: int | None = None) -> None:
        self._write("error", message=message, setting=setting, line=line)

    def leave_if_asked(self) -> None:
        """Raise Stopped where SIGTERM has come; for the places between two pieces of work."""
        if self.stop_asked:
            raise Stopped


@contextmanager
def on_stdout() -> Iterator[Events]:
    """Events on the real stdout, while whatever libraries print goes to stderr.

    SIGTERM is only noted once the work has begun; before that there is nothing to save, and Stopped is raised at once.
    """
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    events = Events(stream)

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        events.stop_asked = True
        if not events.at_work:
            raise Stopped

    signal.signal(signal.SIGTERM, ask_to_stop)
    try:
        yield events
    finally:
        stream.close()


def _finite(value: Any) -> Any:
    """`value` with every number JSON cannot say (nan, inf) turned into null, and floats shortened to six digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
