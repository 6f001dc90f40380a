"""Where a side runs, and what it takes: processor time of whole process trees, from /proc."""

from __future__ import annotations

import os
import socket
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def pin(core: int, pid: int = 0) -> None:
    """Keep a process, its threads and its children to come on one core; on a machine with a single one, do nothing."""
    cores = sorted(os.sched_getaffinity(0) | {0, 1})
    if len(cores) < 2:
        return
    for task in Path(f"/proc/{pid or 'self'}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # it ended meanwhile
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        found.append(pid := waiting.pop())
        waiting.extend(children.get(pid, []))
    return found


def cpu_seconds(roots: list[int]) -> float:
    """What the processes below these have used so far, those that have ended and were waited for included."""
    ticks = 0
    for root in roots:
        for pid in tree(root):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(int(fields[n]) for n in (11, 12, 13, 14))  # user, system, and children's
    return ticks / TICK


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
