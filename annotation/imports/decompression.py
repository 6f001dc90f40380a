"""Decompression of uploaded gzip files."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import IO

from annotation.imports.file_rows import FileError
from annotation.logic.translation import gettext as _

MAGIC = b"\x1f\x8b"
PIECE = 2**20
"""Bytes decompressed at once: gzip can hold a thousand times its size, so whoever reads the pieces sets the limit."""


def read_decompressed(file: IO[bytes]) -> Iterator[bytes]:
    """The file's content, decompressed if it is gzip, piece by piece. The file must be seekable.

    Raises:
        FileError: the gzip file is damaged or cut off.
    """
    file.seek(0)
    head = file.read(len(MAGIC))
    file.seek(0)
    source = gzip.GzipFile(fileobj=file) if head == MAGIC else file
    try:
        while piece := source.read(PIECE):
            yield piece
    except EOFError:
        raise FileError(_("It is a gzip file without its end: the upload was cut off.")) from None
    except (gzip.BadGzipFile, zlib.error):
        raise FileError(_("It is a damaged gzip file: compress it again.")) from None
