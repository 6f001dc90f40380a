"""A scheduler for tests: `submit`, `status` and `cancel` are commands, jobs are processes, and its state is a folder.

    python fake_scheduler.py submit STATE NAME NODES QUEUE PRIORITY COMMAND...
    python fake_scheduler.py status STATE NAME
    python fake_scheduler.py cancel STATE NAME

`mode.json` in the folder says how it behaves: `delay` (seconds until a job starts), `down`, `refuse`, `nonsense`, `forget` (it
accepts a job and loses it), `twice` (it starts each job twice), `lose_answer` (it accepts a job and says that it did not). Every
command is a line of `log`; what jobs print is in `output`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


def main(verb: str, state: Path, name: str, *rest: str) -> int:
    mode: dict[str, Any] = json.loads((state / "mode.json").read_text())
    if verb == "start":
        return start(state / f"{name}.job", mode.get("delay", 0), list(rest))
    with (state / "log").open("a") as log:
        log.write(" ".join([verb, name, *rest[:3]]) + "\n")
    if mode.get("down"):
        sys.stderr.write("cannot reach the controller\n")
        return 1
    if verb == "submit":
        return submit(state, name, mode, int(rest[0]), rest[3:])
    jobs = sorted(state.glob(f"{name}.*.job"))
    if verb == "status":
        print("<html>Bad Gateway</html>" if mode.get("nonsense") else "\n".join(map(status, jobs)))
    else:
        for job in jobs:
            cancel(job)
    return 0


def submit(state: Path, name: str, mode: dict[str, Any], nodes: int, argv: Sequence[str]) -> int:
    if mode.get("refuse"):
        sys.stderr.write("invalid partition\n")
        return 1
    if mode.get("forget"):
        return 0
    for number in range(nodes * (2 if mode.get("twice") else 1)):
        job = f"{name}.{number}"
        (state / f"{job}.job").write_text("PENDING")
        with (state / "output").open("a") as output:
            subprocess.Popen(
                [sys.executable, __file__, "start", state, job, *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
    if mode.get("lose_answer"):
        sys.stderr.write("timed out on receive\n")
        return 1
    return 0


def start(job: Path, delay: float, argv: list[str]) -> int:
    time.sleep(delay)
    if job.read_text() == "CANCELLED":
        return 0
    child = subprocess.Popen(argv)
    job.write_text(f"RUNNING {child.pid}")
    job.write_text("FAILED" if child.wait() else "COMPLETED")
    return 0


def status(job: Path) -> str:
    return job.read_text().partition(" ")[0]


def cancel(job: Path) -> None:
    state, _, pid = job.read_text().partition(" ")
    if state == "PENDING":
        job.write_text("CANCELLED")
    elif state == "RUNNING":
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
