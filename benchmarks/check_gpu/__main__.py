"""Check the training core on this machine's GPU, in ten minutes and without downloading models.

    python -m benchmarks.check_gpu [--device cuda] [--size 0.5b] [--minutes 10] [--only precision,layouts]

Builds a decoder of random weights and makes each check in a process of its own, so that none hides another. The last line on
stdout is one JSON object. Leaves with 1 if a check is wrong, and with 2 if there is no GPU. Of a GPU, the table becomes a section
of RESULTS.md. `--device cpu --size tiny` tries it out on a processor, in about a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile

# checks are forked, so looking for a GPU must not initialise CUDA
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from benchmarks import results
from benchmarks.check_gpu.outcomes import Outcome, figures_table, notes, section
from benchmarks.check_gpu.runner import CHECKS, run_checks
from benchmarks.check_gpu.setup import SIZES, Setup
from benchmarks.workloads import PLACE
from training.core.events import json_safe

RIGHT, WRONG, NO_GPU = 0, 1, 2
"""Exit codes."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", choices=tuple(SIZES), default="0.5b")
    parser.add_argument(
        "--minutes", type=float, default=10, help="for all checks; what no longer fits is left out"
    )
    parser.add_argument("--only", default=",".join(CHECKS), help="checks, separated by commas")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := [name for name in chosen if name not in CHECKS]:
        parser.error(f"there is no check {unknown[0]!r}, only {', '.join(CHECKS)}")
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        print("There is no GPU here; --device cpu --size tiny tries the checks on a processor.")
        return NO_GPU
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is removed
    PLACE.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix="check-gpu-", dir=PLACE)
    os.environ["TMPDIR"] = tempfile.tempdir = scratch  # where checks and what they start make job directories
    setup = Setup(options.device, SIZES[options.size], PLACE / f"models-{options.size}")
    try:
        outcomes = run_checks([CHECKS[name] for name in chosen], setup, 60 * options.minutes)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return report(outcomes, options.device, options.size)


def report(outcomes: list[Outcome], device: str, size: str) -> int:
    """Print the table and the line, write the section where it is of a GPU, and return the exit code."""
    name = torch.cuda.get_device_name() if device == "cuda" else results.processor()
    print(f"\n{name}, {size}\n\n{figures_table(outcomes)}")
    print("\n".join(notes(outcomes)))
    if device == "cuda" and size != "tiny":
        results.write_sections([section(outcomes, results.about({}), name)])
    is_wrong = any(outcome.wrong for outcome in outcomes)
    line = {"device": name, "size": size, "right": not is_wrong}
    print(json.dumps(json_safe(line | {outcome.check: outcome.to_dict() for outcome in outcomes})))
    return WRONG if is_wrong else RIGHT


if __name__ == "__main__":
    sys.exit(main())
