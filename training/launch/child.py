"""The training core as a child process, of a worker or of the program that a scheduler starts on a node."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from training.launch.forked_process import ForkedProcess

ROOT = Path(__file__).resolve().parent.parent.parent
GRACE_S = 60.0
"""How long a stopped core may take to write its checkpoint and exit."""
Core = subprocess.Popen[bytes] | ForkedProcess


def core_command(
    job_folder: Path, processes: int, rendezvous: Sequence[str] = ("--standalone",), *, nodes: int = 1
) -> list[str]:
    """The command line of the core: one process, or torchrun with one for each GPU of this node."""
    program = ["-m", "training.core", str(job_folder)]
    if nodes * processes > 1:
        program = [
            *("-m", "torch.distributed.run", *rendezvous, "--nproc-per-node", str(processes)),
            *program,
        ]
    return [sys.executable, *program]


def start_core(
    command: Sequence[str],
    *,
    locks: Sequence[int],
    stdout: IO[bytes] | None,
    stderr: IO[bytes],
    environment: Mapping[str, str],
    fork_server: str = "",
) -> Core:
    """Start the core. It inherits the locks: an orphan keeps others off the job directory and its GPUs until it has written its
    checkpoint and exited.

    Args:
        stdout: None for a pipe, which is then the process's `stdout`.
        fork_server: the address of one, which then runs the command if it is of one process.
    """
    # torchrun kills its processes earlier by default
    shutdown = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(round(GRACE_S) - 5)}
    variables = os.environ | shutdown | dict(environment)
    if fork_server and command[1:3] == ["-m", "training.core"]:
        with suppress(OSError):  # nobody serves there (any more)
            return _fork_core(fork_server, command, locks, stdout, stderr, variables)
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=stdout or subprocess.PIPE,
        stderr=stderr,
        pass_fds=locks,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )


def _fork_core(
    address: str,
    command: Sequence[str],
    locks: Sequence[int],
    stdout: IO[bytes] | None,
    stderr: IO[bytes],
    environment: Mapping[str, str],
) -> ForkedProcess:
    with ExitStack() as stack:
        if stdout is None:
            ours, theirs = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
            stack.enter_context(theirs)
        written = theirs if stdout is None else stdout
        nothing = stack.enter_context(Path(os.devnull).open("rb"))
        files = {0: nothing.fileno(), 1: written.fileno(), 2: stderr.fileno()}
        files |= {lock: lock for lock in locks}
        try:
            process = ForkedProcess(
                address, command[2], command[3:], folder=ROOT, environment=environment, files=files
            )
        except OSError:
            if stdout is None:
                ours.close()
            raise
    process.stdout = ours if stdout is None else None
    return process


def _die_with_parent() -> None:
    """Have Linux send the child SIGTERM, on which it writes a checkpoint, when its parent is killed (prctl, PR_SET_PDEATHSIG).
    Elsewhere an orphan works to its end, and whoever claims the run then takes its result."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
