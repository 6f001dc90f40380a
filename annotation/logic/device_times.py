"""When something was submitted that a page could not send at once, by what the page measured: time passes alike on every clock,
so only differences are taken from it, and only within what the server knows."""

from __future__ import annotations

import math
from dataclasses import dataclass

LATE_AFTER_S = 5.0
"""Whatever arrives sooner counts as submitted when it arrived."""
MAX_LATE_S = 7 * 24 * 3600.0
"""As long as pages keep what they could not send."""


@dataclass(frozen=True)
class DeviceTimes:
    """`seconds`: how long the item was on the screen until it was submitted, None if unknown; it may only shorten what the
    server measured. `late`: how many seconds ago that was."""

    seconds: float | None = None
    late: float = 0.0

    @classmethod
    def read(cls, seconds: str, late: str) -> DeviceTimes:
        """From a form's fields; what is no time counts as unknown."""
        return cls(read_seconds(seconds), min(read_seconds(late) or 0.0, MAX_LATE_S))

    @property
    def is_late(self) -> bool:
        return self.late >= LATE_AFTER_S


NO_TIMES = DeviceTimes()


def read_seconds(text: str) -> float | None:
    """A number of seconds; None for what is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
