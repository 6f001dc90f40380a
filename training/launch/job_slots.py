"""What worker and nodes agree on through the job directory, which they share: `launch.json`, which names the job that may work
there, and a slot for each node, a file that the node's program locks while it works.

The locks are the truth of who works in a directory: a job that the scheduler started twice finds no free slot the second time,
and the slots of a process that was killed are free.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TAKE_SLOT_S = 5.0


class Launch(NamedTuple):
    """The job that may work in a directory. processes: on each node. stop: whether it is to write a checkpoint and end.
    environment: variables for the core, beside those of the node."""

    name: str
    nodes: int
    processes: int
    environment: dict[str, str]
    stop: bool = False


def write_launch(folder: Path, launch: Launch) -> None:
    partial = folder / "launch.json.partial"
    partial.write_text(json.dumps(launch._asdict()))
    partial.rename(folder / "launch.json")


def read_launch(folder: Path) -> Launch | None:
    """None if no job may work there."""
    try:
        return Launch(**json.loads((folder / "launch.json").read_text()))
    except FileNotFoundError:
        return None


def may_work(folder: Path, name: str) -> bool:
    """Whether the job of this name may work in the directory, or go on. A file system that does not answer changes nothing."""
    try:
        launch = read_launch(folder)
    except OSError:
        return True
    return launch is not None and launch.name == name and not launch.stop


class Slot:
    """A slot that this process holds."""

    def __init__(self, number: int, lock: int) -> None:
        self.number, self.lock = number, lock
        os.ftruncate(lock, 0)

    def write_exit_code(self, code: int) -> None:
        os.write(self.lock, str(code).encode())


def take_slot(folder: Path, nodes: int) -> Slot | None:
    """The first free slot; None if other processes have all of them, or have done their part. It is free again when the process
    has ended otherwise.

    It is tried for a while, since a worker that looks whether a slot is held holds it for a moment.
    """
    deadline = time.monotonic() + TAKE_SLOT_S
    while True:
        for number in range(nodes):
            if (lock := lock_file(_slot_path(folder, number))) is not None:
                if os.pread(lock, 1, 0) != b"0":
                    return Slot(number, lock)
                os.close(lock)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.2)


def is_any_slot_held(folder: Path, nodes: int) -> bool:
    """Whether a process works in the directory."""
    for number in range(nodes):
        lock = lock_file(_slot_path(folder, number))
        if lock is None:
            return True
        os.close(lock)
    return False


def exit_code(folder: Path, nodes: int) -> int | None:
    """The first exit code other than 0 that a node wrote, else 0; None if some node wrote none: it was killed."""
    codes: list[int | None] = []
    for number in range(nodes):
        with suppress(FileNotFoundError):
            text = _slot_path(folder, number).read_text()
            codes.append(int(text) if text else None)
    failed = [code for code in codes if code]
    return failed[0] if failed else None if None in codes or not codes else 0


def clear_slots(folder: Path, nodes: int) -> None:
    """Forget the exit codes of an earlier job."""
    for number in range(nodes):
        path = _slot_path(folder, number)
        if (lock := lock_file(path)) is not None:
            os.ftruncate(lock, 0)
            os.close(lock)


def _slot_path(folder: Path, number: int) -> Path:
    return folder / f"node-{number}.lock"


def lock_file(path: Path) -> int | None:
    """A descriptor that locks the file; None if another process has locked it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
