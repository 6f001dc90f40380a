"""The type and size of a picture, read from its first bytes. Whatever a server calls it, an SVG or a page is none."""

from __future__ import annotations

import struct
from typing import NamedTuple


class ImageType(NamedTuple):
    """A media type, and the width and height in pixels."""

    media_type: str
    width: int
    height: int


def image_type(data: bytes) -> ImageType | None:
    """That of a PNG, JPEG, GIF or WebP picture; None of anything else."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            return ImageType("image/png", *struct.unpack_from(">II", data, 16))
        if data.startswith((b"GIF87a", b"GIF89a")):
            return ImageType("image/gif", *struct.unpack_from("<HH", data, 6))
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
    except (IndexError, struct.error):
        pass  # it ends too early
    return None


def _jpeg(data: bytes) -> ImageType | None:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        # a start of frame, which C4, C8 and CC are not
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return ImageType("image/jpeg", width, height)
        at += 2 + length
    return None


def _webp(data: bytes) -> ImageType | None:
    chunk = data[12:16]
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageType("image/webp", width & 0x3FFF, height & 0x3FFF)
    if chunk == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageType("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if chunk == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return ImageType("image/webp", width, height) if len(data) >= 30 else None
    return None
