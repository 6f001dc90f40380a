"""The checks in their order, each in a process of its own and within a time of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.check_gpu.checks import check_layouts, check_precision, check_processes, check_resume
from benchmarks.check_gpu.outcomes import Figure, Outcome, Skipped, measured
from benchmarks.check_gpu.setup import Setup
from benchmarks.check_gpu.speed import check_grpo, check_reward, check_trl
from benchmarks.workloads import make_models


@dataclass(frozen=True)
class Check:
    """A check by name. least: seconds below which it is not begun. most: seconds after which it is held to hang.
    on_processor: what to do instead on a processor, a sentence, or empty."""

    name: str
    make: Callable[[Setup], list[Figure]]
    least: float = 20
    most: float = 240
    on_processor: str = ""


def check_models(setup: Setup) -> list[Figure]:
    """Build the models, where they are missing."""
    folder = make_models(setup.size.shape, setup.models)
    count = sum(path.stat().st_size for path in (folder / "policy").glob("*.safetensors")) // 2
    return [measured("parameters", "parameters of the policy", count, f"{count:,}")]


_CHECKS = (
    Check("models", check_models),
    Check("precision", check_precision),
    Check("layouts", check_layouts),
    Check("reward step", check_reward),
    Check("GRPO step", check_grpo),
    Check("resume", check_resume),
    Check("processes", check_processes),
    Check(
        "TRL",
        check_trl,
        least=60,
        most=1800,
        on_processor="On a processor, make bench-core compares with TRL.",
    ),
)
CHECKS = {check.name: check for check in _CHECKS}
"""By name, in the order in which they are made: the last ones may no longer fit."""


def run_checks(checks: Sequence[Check], setup: Setup, seconds: float) -> list[Outcome]:
    """The outcome of each check, within `seconds` in all."""
    end = time.monotonic() + seconds
    outcomes = []
    for check in checks:
        left = end - time.monotonic()
        if setup.device == "cpu" and check.on_processor:
            outcome = Outcome(check.name, skipped=check.on_processor)
        elif left < check.least:
            outcome = Outcome(check.name, skipped="There was no time left for it; --minutes gives more.")
        else:
            outcome = run_check(check, setup, left)
        outcomes.append(outcome)
        print(f"{check.name}: {outcome.state}, {outcome.seconds:.0f} s", file=sys.stderr, flush=True)
    return outcomes


def run_check(check: Check, setup: Setup, left: float) -> Outcome:
    """A check in a process of its own, which is ended after `check.most` seconds or the `left` ones."""
    context = multiprocessing.get_context("fork")  # all is imported, and nothing has initialised CUDA
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(check.make, setup, sender))
    start = time.monotonic()
    process.start()
    sender.close()
    outcome = Outcome(check.name)
    try:
        if receiver.poll(min(check.most, left)):
            outcome = Outcome(check.name, **receiver.recv())
            process.join(5)
        elif left <= check.most:
            outcome.skipped = "The time was over before it had ended; --minutes gives more."
        else:
            outcome.failed = f"It had not ended after {check.most:g} seconds."
    except EOFError:
        process.join(5)
        outcome.failed = f"Its process died, with the exit code {process.exitcode}."
    _end(process)
    outcome.seconds = time.monotonic() - start
    return outcome


def _work(make: Callable[[Setup], list[Figure]], setup: Setup, sender: Connection) -> None:
    """Send what the check found, as the fields of an Outcome."""
    os.setsid()  # the processes that it starts end with it
    found: dict[str, Any]
    try:
        found = {"figures": make(setup)}
    except Skipped as reason:
        found = {"skipped": str(reason)}
    except Exception as error:  # noqa: BLE001 - the other checks are to be made nevertheless
        found = {"failed": f"{type(error).__name__}: {error}"}
    sender.send(found)


def _end(process: BaseProcess) -> None:
    """End a process and those that it started, where they have not ended."""
    process.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
