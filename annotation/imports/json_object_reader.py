"""A file that is one JSON object: a row, or a wrapper around the list of rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from annotation.imports import file_rows
from annotation.imports.file_rows import FileError, FileRow, parse_json_object
from annotation.logic.translation import gettext as _

WRAPPERS = ("data", "rows", "records", "examples", "items", "train")
"""Names under which a wrapper has its rows."""


def read_json_object(path: Path) -> Iterator[FileRow]:
    size = path.stat().st_size
    if size > file_rows.MAX_LINE:
        limit = file_rows.MAX_LINE // 2**20
        raise FileError(
            _("It is one JSON object of more than %(limit)s MB: write one object per line, or a list.")
            % {"limit": limit}
        )
    try:
        value = parse_json_object(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise FileError(_("It is not UTF-8 text.")) from None
    except ValueError as error:
        raise FileError(_("It begins like one JSON object, but is %(error)s.") % {"error": error}) from None
    lists = [name for name in WRAPPERS if isinstance(value.get(name), list)]
    rows = value[lists[0]] if len(lists) == 1 else [value]
    for number, row in enumerate(rows, start=1):
        position = size * number // len(rows)
        if isinstance(row, dict):
            yield FileRow(number, row, position)
        else:
            yield FileRow(number, None, position, _("not a JSON object: each element is {…}"))
