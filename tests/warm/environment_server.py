"""Where a process of the site is forked from: a server for each environment, whose settings it has read.

A site has eight processes, and a test that kills them starts many more, each of which would import the site's own modules anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from training.launch.forked_process import STAY, ForkedProcess

CHANGES = ("PYTEST_CURRENT_TEST", "_")
"""Variables that say nothing to the site."""
PROGRAM = Path(__file__).parent / "warm_site.py"


def server_address(site: str, program: str, environment: Mapping[str, str], folder: Path) -> str:
    """The socket of the server of this program (`celery`, `uvicorn`, `manage.py`) and environment. It is started where there is
    none, by the process that serves at `site`, and ends some time after its last process.

    Raises:
        OSError: nobody serves at `site`.
    """
    kept = {name: value for name, value in environment.items() if name not in CHANGES}
    digest = hashlib.sha256(json.dumps([program, str(folder), sorted(kept.items())]).encode()).hexdigest()
    address = f"{site}-{digest[:16]}"
    with Path(f"{address}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _serves(address):
            _start(site, [address, program], kept, folder)
    return address


def _serves(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(address)
        return True
    return False


def _start(site: str, arguments: list[str], environment: Mapping[str, str], folder: Path) -> None:
    reader, writer = os.pipe()
    with Path(os.devnull).open("r+b") as nothing, os.fdopen(reader, "rb") as lines:
        files = {0: nothing.fileno(), 1: writer, 2: 2}
        ForkedProcess(
            site, str(PROGRAM), arguments, folder=folder, environment=environment, files=files, hangup=STAY
        )
        os.close(writer)
        if lines.readline() != b"ready\n":
            raise ConnectionResetError
