"""Which encoding a text file has: UTF-8, or what Excel writes."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

_VALID_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_NOT_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
SAMPLE_BYTES = 2**22


def detect_encoding(path: Path) -> str:
    """The name of the encoding, by the mark at the beginning or by the first megabytes.

    Bytes beyond ASCII of which none is a character of UTF-8 are taken for Windows-1252; where some are, the rows with the
    others are invalid, and the file is UTF-8.
    """
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(sample) == SAMPLE_BYTES:
        sample = sample.rstrip(bytes(range(128, 256)))  # the last character may be cut
    if not sample.isascii() and not _VALID_SEQUENCE.search(sample) and not _NOT_IN_CP1252.search(sample):
        return "cp1252"
    return "utf-8-sig"
