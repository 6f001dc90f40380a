"""The training core as a child process, of a worker or of the program that a scheduler starts on a node."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent.parent
GRACE_S = 60.0
"""How long a stopped core may take to write its checkpoint and exit."""


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
    stdout: int | IO[bytes],
    stderr: IO[bytes],
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """Start the core. It inherits the locks: an orphan keeps others off the job directory and its GPUs until it has written its
    checkpoint and exited."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ
        | {
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            # torchrun kills its processes earlier by default
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(round(GRACE_S) - 5),
        }
        | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=locks,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )


def _die_with_parent() -> None:
    """Have Linux send the child SIGTERM, on which it writes a checkpoint, when its parent is killed (prctl, PR_SET_PDEATHSIG).
    Elsewhere an orphan works to its end, and whoever claims the run then takes its result."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
