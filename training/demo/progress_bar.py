"""A progress bar on the terminal for each stage of the demo, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


class ProgressBar:
    """A bar that is advanced by an amount (called) or set to a step."""

    def __init__(self, bar: tqdm[Any]) -> None:
        self._bar = bar

    def __call__(self, amount: int) -> None:
        self._bar.update(amount)

    def set(self, step: int, total: int) -> None:
        if (step, total or None) != (self._bar.n, self._bar.total):
            self._bar.n, self._bar.total = step, total or None
            self._bar.refresh()


class Stages:
    """The stages of a demo, and the seconds that each has taken in this process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.monotonic()

    @property
    def total(self) -> float:
        """Seconds since the demo began."""
        return round(time.monotonic() - self._started, 1)

    @contextmanager
    def stage(self, label: str, total: int = 0) -> Iterator[ProgressBar]:
        """Show a bar until the block ends; without `total` it has no end yet. A label that comes again adds its time."""
        form = "{desc:<36} {percentage:3.0f}% |{bar:30}| {n_fmt}/{total_fmt} {elapsed}"
        started = time.monotonic()
        with tqdm(total=total or None, desc=label, bar_format=form, mininterval=0.5) as bar:
            yield ProgressBar(bar)
        self.seconds[label] = round(self.seconds.get(label, 0.0) + time.monotonic() - started, 1)
