"""What the checks of `make check-gpu` share: the model's size and the cases, and runs that end after a few steps."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.gate import wait_for_accelerator
from benchmarks.ours import FOREVER, training_config, write_job
from benchmarks.workloads import END, Case, Shape, rankings
from training.core.__main__ import run
from training.core.errors import Stopped
from training.core.events import Events
from training.core.job_directory import Job
from training.core.tokenization import EncodedGroup


@dataclass(frozen=True)
class Size:
    """A model, and for each check the case and the most tokens in a pass."""

    shape: Shape
    layouts: Case
    resume: Case
    reward: Case
    grpo: Case
    batch_tokens: int
    steps: int
    """Steps that are timed, after two that are not."""


SIZES = {
    "0.5b": Size(
        Shape(151_936, 896, 4864, 24, 14, kv_heads=2, tied=True, dtype="bfloat16"),
        layouts=Case("reward", 4, 256, 128, 2),
        resume=Case("reward", 4, 64, 32, 8),
        reward=Case("reward", 4, 256, 128, 16),
        grpo=Case("grpo", 8, 128, 64, 8),
        batch_tokens=4096,
        steps=5,
    ),
    "tiny": Size(
        Shape(512, 64, 128, 2, 4, deviation=0.08, kv_heads=2, tied=True, dtype="bfloat16"),
        layouts=Case("reward", 4, 48, 24, 2),
        resume=Case("reward", 4, 24, 12, 8),
        reward=Case("reward", 4, 24, 12, 6),
        grpo=Case("grpo", 4, 12, 6, 2),
        batch_tokens=256,
        steps=2,
    ),
}


@dataclass(frozen=True)
class Setup:
    """device: cpu or cuda. models: the folder with `policy` and `reward`."""

    device: str
    size: Size
    models: Path

    @property
    def spec(self) -> dict[str, Any]:
        """What the benchmarks' job directories are written by; in bfloat16, as large models are trained."""
        return {"models": str(self.models), "bf16": True, "batch_tokens": self.size.batch_tokens}

    def job(self, kind: str, case: Case, **config: Any) -> Job:
        """A job directory of its own with the case's rankings, all of them in each step."""
        rows = rankings(case, self.size.shape.vocabulary)
        names = {"model": "reward"} if kind == "reward" else {"model": "policy", "reward_model": "reward"}
        return write_job(kind, self.spec, rows, training_config(self.spec, rows, **config), **names)

    def groups(self, case: Case) -> list[EncodedGroup]:
        """The token ids of the case's rankings, as a run reads them."""
        return [
            EncodedGroup(row["prompt"], [[*response, END] for response in row["responses"]])
            for row in rankings(case, self.size.shape.vocabulary)
        ]


class Enough(Exception):
    """The run has taken the steps that it was to take."""


class Recorder(Events):
    """Events in a list, and the seconds of each step. After step `end` the run is over or, with `gently`, is asked to stop, on
    which it writes a checkpoint."""

    def __init__(self, end: int = FOREVER, *, gently: bool = False) -> None:
        super().__init__(StringIO())
        self.end, self.gently = end, gently
        self.seen: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        self._since = 0.0

    def _write(self, event: str, **values: Any) -> None:
        self.seen.append({"event": event, **values})

    def start(self, kind: str, total: int, resumed_from: int | None) -> None:
        super().start(kind, total, resumed_from)
        self._since = time.perf_counter()

    def progress(self, step: int, total: int, expected_end: float | None = None) -> None:
        wait_for_accelerator()
        now = time.perf_counter()
        self.seconds.append(now - self._since)
        self._since = now
        if step >= self.end:
            if not self.gently:
                raise Enough
            self.stop_requested = True


def run_steps(job: Job, end: int = FOREVER, *, gently: bool = False) -> Recorder:
    """Run a job up to step `end`, and leave its checkpoint if `gently`."""
    events = Recorder(end, gently=gently)
    with suppress(Enough, Stopped):
        run(job, events)
    return events


def training_metrics(events: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The metrics of each step."""
    values = [event["values"] for event in events if event["event"] == "metrics"]
    return [metrics for metrics in values if "loss" in metrics]
