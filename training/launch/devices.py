"""The GPUs of this machine, which its runs share: each job has some for itself.

A GPU is taken by locking a file, and the job inherits the lock: no two jobs have the same GPU, and those of a worker and a job
that were killed are free.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from training.launch.job_slots import lock_file


class Devices(NamedTuple):
    """GPUs that a job has for itself, as CUDA_VISIBLE_DEVICES names them, and the locks that hold them."""

    names: list[str]
    locks: list[int]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that show a job its GPUs only; none on a machine without."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.names)} if self.names else {}


def device_names(total: int) -> list[str]:
    """The machine's GPUs, or those of them that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return (visible.split(",") if visible else [str(number) for number in range(total)])[:total]


@contextmanager
def reserve_devices(folder: Path, names: list[str], count: int) -> Iterator[Devices | None]:
    """Hold `count` of the GPUs; None if fewer are free. folder: this machine's own, where the locks are."""
    devices = Devices([], [])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if len(devices.names) < count and (lock := lock_file(folder / f"{name}.lock")) is not None:
                devices.names.append(name)
                devices.locks.append(lock)
        yield devices if len(devices.names) == count else None
    finally:
        for lock in devices.locks:
            os.close(lock)
