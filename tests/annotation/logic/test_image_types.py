from __future__ import annotations

import struct

import pytest

from annotation.logic.image_types import image_type

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480)
GIF = b"GIF89a" + struct.pack("<HH", 3, 2)
JPEG = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc4\0\x03c\xff\xff\xc2\0\x11\x08" + struct.pack(">HH", 20, 30)
LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16, 9)
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 99 | 49 << 14)
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + (299).to_bytes(3, "little") + (199).to_bytes(3, "little")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (PNG, ("image/png", 640, 480)),
        (GIF, ("image/gif", 3, 2)),
        (JPEG, ("image/jpeg", 30, 20)),
        (LOSSY, ("image/webp", 16, 9)),
        (LOSSLESS, ("image/webp", 100, 50)),
        (EXTENDED, ("image/webp", 300, 200)),
    ],
)
def test_pictures_are_known_by_their_content(data: bytes, expected: tuple[str, int, int]) -> None:
    assert image_type(data + b"\0" * 99) == expected
    assert all(image_type(data[:length]) is None for length in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!doctype html>",
        b"\xff\xd8\xff" + b"\xff" * 99,
        b"RIFF\0\0\0\0WAVE",
    ],
)
def test_anything_else_is_none(data: bytes) -> None:
    assert image_type(data) is None
