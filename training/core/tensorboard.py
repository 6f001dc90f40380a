"""A run's metrics as TensorBoard events: the file format itself, which is small, instead of a library, which is not.

A file is a series of records: length (8 bytes), its checksum, an `Event` message, its checksum; a checksum is CRC-32C,
rotated and shifted by a constant. Only scalars are written.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

FILE = "events.out.tfevents.palate"
VERSION = b"brain.Event:2"


class Board:
    """Writes to `FILE` in a folder. What stands there of steps after `after` belongs to a run that was cut short there,
    and is dropped, so that every step is found once."""

    def __init__(self, folder: Path, after: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / FILE
        kept = _until(self._path.read_bytes(), after) if self._path.exists() else b""
        self._path.write_bytes(kept or record(event(0, _text(3, VERSION))))

    def scalars(self, step: int, values: dict[str, float | None]) -> None:
        """Add the figures of `step`; those without a value are left out."""
        found = [
            _text(1, name.encode()) + b"\x15" + struct.pack("<f", v)
            for name, v in values.items()
            if v is not None
        ]
        summary = b"".join(_text(1, one) for one in found)
        with self._path.open("ab") as file:
            file.write(record(event(step, _text(5, summary))))


def event(step: int, content: bytes) -> bytes:
    """An `Event`: wall time (field 1), step (field 2), and what happened."""
    return b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _varint(step) + content


def record(message: bytes) -> bytes:
    length = struct.pack("<Q", len(message))
    return length + _checksum(length) + message + _checksum(message)


def _until(data: bytes, after: int) -> bytes:
    """The whole records of `data` up to the first of a step beyond `after`."""
    at = 0
    while at + 12 <= len(data):
        end = at + 12 + struct.unpack_from("<Q", data, at)[0] + 4
        if end > len(data) or _step(data[at + 12 : end]) > after:
            break
        at = end
    return data[:at]


def _step(message: bytes) -> int:
    """The step of an event as `event` writes it: after the wall time's nine bytes and the field's number."""
    step = 0
    for place, byte in enumerate(message[10:]):
        step |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    return step


def _text(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    found = []
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _table() -> list[int]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return found


_CRC = _table()


def _checksum(data: bytes) -> bytes:
    """CRC-32C (Castagnoli), masked as the format wants it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
