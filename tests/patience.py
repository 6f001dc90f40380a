"""Safety nets under what might never end. They are far too wide to say anything of speed: no test depends on that."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

HANGS_S = 600
"""Seconds after which what was waited for is held not to come."""


@contextmanager
def ends(cpu_seconds: float = 60) -> Iterator[None]:
    """Fail where the block is still at work after so many seconds of the processor: some ten times what it may take, and
    what work that grows with the square of a long text never keeps."""

    def fail(*_: object) -> None:
        raise AssertionError(f"still at work after {cpu_seconds:g} seconds of the processor")

    before = signal.signal(signal.SIGVTALRM, fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
