"""Jobs done in this process: no interpreter to start, and a run can be ended at any of its events."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from training.core.__main__ import run
from training.core.errors import Stopped
from training.core.events import Events
from training.core.job_directory import read_job


class Killed(Exception):
    """The run died here."""


class Recorded(Events):
    """Events kept in a list. At the one of number `end_at` the run is killed or, with `gently`, asked to stop."""

    def __init__(self, end_at: int | None = None, *, gently: bool = False) -> None:
        super().__init__(io.StringIO())
        self.seen: list[dict[str, Any]] = []
        self.end_at, self.gently = end_at, gently

    def _write(self, event: str, **values: Any) -> None:
        super()._write(event, **values)
        self.seen.append(json.loads(self._stream.getvalue().splitlines()[-1]))  # type: ignore[attr-defined]
        if len(self.seen) - 1 == self.end_at:
            if not self.gently:
                raise Killed
            self.stop_requested = True


def do_here(
    folder: Path, events: Recorded | None = None
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """What the job says of itself, or None where it was ended before; and its events."""
    events = events or Recorded()
    try:
        result = run(read_job(folder), events)
    except (Killed, Stopped):
        result = None
    return result, events.seen


def stored(folder: Path, part: str) -> dict[str, Tensor]:
    """The tensors of a part of the checkpoint that one process wrote: model, optimizer, random or extra."""
    tensors = {
        name: value
        for path in (folder / "checkpoint").glob("*.safetensors")
        for name, value in load_file(path).items()
    }
    return {
        name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")
    }


def curve(events: list[dict[str, Any]], name: str) -> dict[int, float]:
    """A figure by step."""
    return {
        event["step"]: event["values"][name]
        for event in events
        if event["event"] == "metrics" and name in event["values"]
    }
