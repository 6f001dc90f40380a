"""How long judgments that are left will take the people who judge now, with an interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, inf, sqrt

from annotation.logic.agreement import Z_95

ENOUGH = 5
"""Judgments from which a pace is told."""
ROUNDING = 1e-6
"""Judgments: by how much sums of products may be off."""


@dataclass(frozen=True)
class Worker:
    """Somebody who judges now.

    Attributes:
        judgments: in the last hour, of what is in the queue.
        minutes: since the beginning of the first of them.
        recent: judgments in the last 15 minutes, with those of gold items and live chats.
        only_chats: they take nothing from the queue.
        able: they get items from the queue: they are not paused, and have passed the qualification.
        items_left: how many items they can still judge; None if that was not counted.
    """

    name: str
    judgments: int
    minutes: float
    recent: int = 0
    only_chats: bool = False
    able: bool = True
    items_left: int | None = None

    @property
    def pace(self) -> float:
        """Judgments an hour since they began."""
        return 60 * self.judgments / max(self.minutes, 1.0)


@dataclass(frozen=True)
class TimeLeft:
    """Seconds: the estimate, and the ends of its 95% interval."""

    seconds: float
    low: float
    high: float


def pace(workers: Iterable[Worker]) -> float:
    """Judgments an hour of all of them together, each since they began."""
    return sum(worker.pace for worker in workers)


def time_left(left: int, workers: Iterable[Worker]) -> TimeLeft | None:
    """How long `left` judgments take, if these people go on as they do, each until nothing is left for them; None for none, or
    where too few were made to tell.

    The pace is counted on n judgments, and what is left takes its own chance: the logarithm of the time has about the variance
    1/n + 1/left, as the ratio of two gamma variables.
    """
    workers = [worker for worker in workers if worker.items_left != 0]
    made = sum(worker.judgments for worker in workers)
    if left <= 0 or made < ENOUGH:
        return None
    hours = _hours_until(left, workers)
    if hours is None:
        return None
    seconds = 3600 * hours
    factor = exp(Z_95 * sqrt(1 / made + 1 / left))
    return TimeLeft(seconds, seconds / factor, seconds * factor)


def _hours_until(left: int, workers: Iterable[Worker]) -> float | None:
    """When they have made `left` judgments together, each no more than they have items left; None for never."""
    moving = sorted((worker for worker in workers if worker.judgments), key=_hours_of_own)
    speed, now, remaining = pace(moving), 0.0, float(left)
    for worker in moving:
        end = _hours_of_own(worker)
        made = speed * (end - now)
        if made >= remaining - ROUNDING:
            break
        remaining, now, speed = remaining - made, end, speed - worker.pace
    else:
        return None
    return now + remaining / speed


def _hours_of_own(worker: Worker) -> float:
    """How long they can go on before nothing is left for them."""
    return inf if worker.items_left is None else worker.items_left / worker.pace
