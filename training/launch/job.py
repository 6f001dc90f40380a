"""The interface of a started job, and what it may ask of the machines."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Resources(NamedTuple):
    """What a job asks for. gpus: processes on each node, one per GPU. queue: empty if the scheduler has none. minutes: the
    longest that the scheduler lets it run; 0: no limit."""

    nodes: int = 1
    gpus: int = 1
    queue: str = ""
    priority: int = 0
    minutes: int = 0


class Job(Protocol):
    """A job that was started. `outlives_worker`: whether it goes on when its worker dies, and the next worker follows it."""

    outlives_worker: bool

    def poll(self, timeout_s: float) -> list[bytes] | None:
        """The complete event lines that arrived, at most after `timeout_s`; None once it has ended and all were returned."""
        ...

    def cancel(self) -> None:
        """Ask it to write a checkpoint and end."""
        ...

    def wait(self) -> int | None:
        """Its exit code, once it has ended; below 0: the signal that ended it; None if that is not known. It is killed
        `GRACE_S` after it was cancelled."""
        ...

    def detach(self) -> None:
        """Leave it, after an error of the worker: a child process is killed, a scheduler's job goes on."""
        ...
