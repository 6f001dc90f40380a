"""The program that a scheduler starts on each node of a job: `python -m training.launch.node JOB_DIR NAME`.

It takes a slot of the job directory, starts the core there (one process, or torchrun), and writes the core's events and log
into the directory, where the worker reads them. On SIGTERM, and when `launch.json` says so, it has the core write its checkpoint
and end. A job that was cancelled or replaced before it started, or was started twice, ends at once and touches nothing.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO

from training.launch.child import GRACE_S, core_command, start_core
from training.launch.job_slots import Launch, Slot, may_work, read_launch, take_slot

LOOK_EVERY_S = 1.0
RENDEZVOUS_S = 600.0
"""How long the nodes of a job wait for each other."""


def main(arguments: list[str]) -> int:
    """Do this node's part of the job, and return the core's exit code; 0 if there is nothing to do."""
    if len(arguments) != 2:
        return _say("usage: python -m training.launch.node JOB_DIR NAME", 2)
    folder, name = Path(arguments[0]).resolve(), arguments[1]
    launch = read_launch(folder) if folder.is_dir() else None
    if launch is None or not may_work(folder, name):
        return _say(f"The job {name} was cancelled, or another one has taken its place.")
    slot = take_slot(folder, launch.nodes)
    if slot is None:
        return _say(f"Other processes work on the job {name}, or have done it: it was started twice.")
    code = _work(folder, launch, slot)
    slot.write_exit_code(code)
    return code


def _say(message: str, code: int = 0) -> int:
    sys.stderr.write(message + "\n")
    return code


def _work(folder: Path, launch: Launch, slot: Slot) -> int:
    stops: list[int] = []

    def request_stop(number: int, frame: FrameType | None) -> None:
        stops.append(number)

    meeting = folder / "rendezvous.json"
    try:
        rendezvous = _rendezvous(meeting, launch, slot) if launch.nodes > 1 else ["--standalone"]
        if rendezvous is None:
            return _say(f"The other nodes of {launch.name} did not start within {RENDEZVOUS_S:.0f} s.", 1)
        command = core_command(folder, launch.processes, rendezvous, nodes=launch.nodes)
        signal.signal(signal.SIGTERM, request_stop)  # until here there is nothing to save
        with (folder / "log.txt").open("ab") as log, _open_events(folder / "events.jsonl") as events:
            child = start_core(
                command, locks=[slot.lock], stdout=events, stderr=log, environment=launch.environment
            )
        deadline: float | None = None
        while True:
            with suppress(subprocess.TimeoutExpired):
                return child.wait(LOOK_EVERY_S)
            if deadline is None and (stops or not may_work(folder, launch.name)):
                child.terminate()
                deadline = time.monotonic() + GRACE_S
            elif deadline is not None and time.monotonic() > deadline:
                child.kill()
    finally:
        if slot.number == 0:
            meeting.unlink(missing_ok=True)


def _open_events(path: Path) -> IO[bytes]:
    """The file of events, to append to. A line that a killed process left without its end is ended first."""
    events = path.open("ab+")
    if events.tell():
        events.seek(-1, 2)
        if events.read(1) != b"\n":
            events.write(b"\n")
            events.flush()
    return events


def _rendezvous(meeting: Path, launch: Launch, slot: Slot) -> list[str] | None:
    """torchrun's options with which the nodes find each other: the holder of slot 0 writes its address into the job directory.
    None if it does not, in time."""
    if slot.number == 0:
        address = _own_address("192.0.2.1")  # of no machine: only the route is looked up
        with socket.socket() as probe:
            probe.bind((address, 0))
            port = probe.getsockname()[1]
        partial = meeting.with_suffix(".partial")
        partial.write_text(json.dumps({"name": launch.name, "address": address, "port": port}))
        partial.rename(meeting)
        endpoint, own = f"{address}:{port}", address
    else:
        found = _find_first_node(meeting, launch.name)
        if found is None:
            return None
        endpoint, own = f"{found[0]}:{found[1]}", _own_address(found[0])
    return [
        *("--nnodes", str(launch.nodes), "--rdzv-backend", "c10d", "--rdzv-id", launch.name),
        *("--rdzv-endpoint", endpoint, "--rdzv-conf", f"is_host={int(slot.number == 0)}"),
        *("--local-addr", own),
    ]


def _find_first_node(meeting: Path, name: str) -> tuple[str, int] | None:
    """The address of the first node, once somebody listens there: what an earlier attempt has left leads nowhere."""
    deadline = time.monotonic() + RENDEZVOUS_S
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError):
            place = json.loads(meeting.read_text())
            address = place["address"], place["port"]
            if place["name"] == name:
                socket.create_connection(address, timeout=5).close()
                return address
        if not may_work(meeting.parent, name):
            return None
        time.sleep(0.5)
    return None


def _own_address(peer: str) -> str:
    """The address from which this machine reaches a peer; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        try:
            route.connect((peer, 9))
            return str(route.getsockname()[0])
        except OSError:  # a machine without a route to anywhere
            return socket.gethostbyname(socket.gethostname())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
