"""Lines of a file, each of bounded length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, AnyStr

from annotation.imports import file_rows
from annotation.imports.file_rows import FileError
from annotation.logic.translation import gettext as _


def read_lines(file: IO[AnyStr]) -> Iterator[AnyStr]:
    """The file's lines, with their newlines.

    Raises:
        FileError: a line is longer than `MAX_LINE`.
    """
    limit, number = file_rows.MAX_LINE, 0
    while line := file.readline(limit + 1):
        number += 1
        if len(line) > limit:
            raise FileError(
                _("Line %(n)s is longer than %(size)s MB.") % {"n": number, "size": limit // 2**20}
            )
        yield line
