"""Scripts that run in the environment of TRL, which lives under var/bench and takes minutes to install: `make test PEERS=1`
installs it where it is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.environments import NEWEST, peer

needs_trl = pytest.mark.skipif(not os.environ.get("PEERS"), reason="needs TRL: make test PEERS=1 installs it")


def run_with_trl(script: Path, *arguments: Path) -> str:
    """What a script prints that TRL's Python runs, in the folder of its first argument, or else in its own."""
    # the interpreter's own path stays out: TRL's environment has everything
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [peer("trl-new", NEWEST), script, *arguments],
        cwd=script.parent if not arguments else arguments[0],
        capture_output=True,
        text=True,
        env=environment
        | {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
