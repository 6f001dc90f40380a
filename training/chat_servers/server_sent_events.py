"""Server-sent events (WHATWG HTML, section 9.2): the data of each event, from bytes as they arrive."""

from __future__ import annotations

import re

MAX_LINE_BYTES = 2**20
_LINE_END = re.compile(rb"\r\n|\n|\r")


class LineTooLong(Exception):
    """A line has more than `MAX_LINE_BYTES`."""


class EventParser:
    """Reads a stream of events. Comments and fields other than `data` are skipped. Lines are decoded as a whole, so a character
    may be split over two packets."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[str]:
        """The data of the events that are complete with these bytes; no bytes are the end of the stream. Raises
        LineTooLong."""
        events: list[str] = []
        self._rest += chunk
        if not chunk and self._rest:
            self._rest += b"\n"
        start = 0
        for match in _LINE_END.finditer(self._rest):
            if match.group() == b"\r" and match.end() == len(self._rest) and chunk:
                break  # perhaps the first half of a line's end
            self._read_line(self._rest[start : match.start()], events)
            start = match.end()
        self._rest = self._rest[start:]
        if len(self._rest) > MAX_LINE_BYTES:
            raise LineTooLong
        if not chunk:
            self._read_line(b"", events)  # some servers leave out the last empty line
        return events

    def _read_line(self, line: bytes, events: list[str]) -> None:
        if not line:
            if self._data:
                events.append("\n".join(self._data))
            self._data = []
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" ").decode("utf-8", "replace"))
