"""Jobs done one after another by one process, or by two under torchrun, so that starting up is paid for once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.patience import HANGS_S
from tests.training.core.conftest import ROOT

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

DRIVER = r"""
import os, sys
from training.core.__main__ import main
stdout = os.dup(1)
codes = []
for folder in sys.argv[1:]:
    os.dup2(stdout, 1)  # the program gives its own away
    codes.append(str(main([folder])))
os.write(2, f"\ncodes {' '.join(codes)}\n".encode())  # not through sys.stderr, which adds the time
"""


def do_jobs(
    folders: list[Path], processes: int, warm_core: dict[str, str]
) -> tuple[list[list[int]], list[dict[str, Any]]]:
    """Do the jobs. Returns the exit codes of each process, and the events of all jobs."""
    driver = folders[0].parent / "driver.py"
    driver.write_text(DRIVER)
    program = [sys.executable] if processes == 1 else TORCHRUN
    done = subprocess.run(
        [*program, str(driver), *map(str, folders)],
        env=ENVIRONMENT | warm_core, capture_output=True, text=True, timeout=HANGS_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    codes = [line.split()[1:] for line in done.stderr.splitlines() if line.startswith("codes ")]
    assert len(codes) == processes, done.stderr
    return [[int(code) for code in own] for own in codes], [
        json.loads(line) for line in done.stdout.splitlines()
    ]


def tensors(output: Path) -> dict[str, torch.Tensor]:
    """All tensors of an output, by file and name."""
    found: dict[str, torch.Tensor] = {}
    for path in output.glob("*.safetensors"):
        found |= {f"{path.stem}.{name}": value for name, value in load_file(path).items()}
    return found
