"""Files that come in packed by gzip."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

from annotation.imports.readers import FileError

GZIP = b"\x1f\x8b"
PIECE = 2**20  # bytes unpacked at once: a few bytes may hold a thousand times as many


def unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks as they are or, of a gzip file, what is packed in them, piece by piece: who reads them bounds how much.

    Raises:
        FileError: the file is damaged or cut off.
    """
    stream = iter(chunks)
    head = b""
    while len(head) < len(GZIP) and (chunk := next(stream, b"")):
        head += chunk
    whole = chain([head], stream)
    return _gunzipped(whole) if head.startswith(GZIP) else whole


def _gunzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A gzip file is one packed member after the other, each with a checksum at its end, and perhaps zeros after them."""
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        for packed in chunks:
            left = packed
            while left := left.lstrip(b"\0") if member.eof else left:
                if member.eof:
                    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
                yield member.decompress(left, PIECE)
                left = member.unconsumed_tail or member.unused_data
    except zlib.error:
        raise FileError("It is a damaged gzip file: pack it again.") from None
    if not member.eof:
        raise FileError("It is a gzip file without its end: it was cut off on the way.")
