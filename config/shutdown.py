"""Whether this worker has been told to stop, for tasks that take long: they put their row back into the queue."""

from __future__ import annotations

import mmap
from typing import Any

from celery.signals import worker_init, worker_shutting_down

# memory that the pool's processes share with the worker, which alone gets the signal; without a lock, since one that is
# killed could hold it
_flag = mmap.mmap(-1, 1)


@worker_init.connect
def _make_flag(**_: Any) -> None:
    global _flag
    _flag = mmap.mmap(-1, 1)


@worker_shutting_down.connect
def _set_flag(**_: Any) -> None:
    _flag[0] = 1


def is_stopping() -> bool:
    """Whether the worker was told to stop, by SIGTERM."""
    return bool(_flag[0])
