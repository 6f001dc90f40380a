"""The time in front of each line of the program's log, which is what it writes to stderr."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")


class TimedLines:
    """A text stream that writes the time, in UTC, in front of each line that is not empty; otherwise the stream it is given."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_at_start = True

    def write(self, text: str) -> int:
        """Write the text at once; returns its length without the times."""
        timed = ""
        for line in LINES.findall(text):
            if self._is_at_start and line.strip("\r\n"):
                timed += f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ} "
            timed += line
            if line:
                self._is_at_start = line.endswith(("\r", "\n"))
        self._stream.write(timed)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def time_log_lines() -> None:
    """From now on, put the time in front of what this process writes to `sys.stderr`."""
    if not isinstance(sys.stderr, TimedLines):
        sys.stderr = TimedLines(sys.stderr)
