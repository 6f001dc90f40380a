"""CSV: a header of unique names; comma, semicolon, tab or what a first line `sep=` says; cells that hold JSON lists where a
column has lists; in UTF-8, or in UTF-16 or Windows-1252, which Excel writes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from annotation.imports.encodings import detect_encoding
from annotation.imports.file_rows import NOT_UTF8, FileError, FileRow
from annotation.imports.line_reader import read_lines

MAX_CELL_CHARS = 2**21
_LIST_COLUMNS = ("responses", "tags", "gold")  # may hold a JSON list of words or numbers


def read_csv(path: Path) -> Iterator[FileRow]:
    csv.field_size_limit(MAX_CELL_CHARS)
    with path.open("rb") as raw:
        text = io.TextIOWrapper(raw, encoding=detect_encoding(path), errors="surrogateescape", newline="")
        number = 0
        try:
            lines, delimiter, skipped = _delimited(read_lines(text))
            table = csv.reader(lines, delimiter=delimiter)
            header = [name.strip() for name in next(table, [])]
            if len(set(header)) < len(header):
                raise FileError("Two of its columns have the same name.")
            for cells in table:
                number = table.line_num + skipped
                if any(cells):
                    yield _parse_cells(number, header, cells, raw.tell())
        except (csv.Error, UnicodeError) as error:
            raise FileError(f"It cannot be read beyond line {number}: {error}.") from None


def _delimited(lines: Iterator[str]) -> tuple[Iterator[str], str, int]:
    """The lines of the table, their delimiter, and how many lines stand before them: `sep=;`, which is for Excel, is one."""
    head = next(lines, "")
    if head.lower().startswith("sep=") and head[4:].strip("\r\n"):
        return lines, head[4], 1
    return chain([head], lines), max(",;\t", key=head.count), 0


def _parse_cells(number: int, header: list[str], cells: list[str], position: int) -> FileRow:
    if len(cells) != len(header):
        return FileRow(number, None, position, f"{len(cells)} cells, but the file has {len(header)} columns")
    if any(NOT_UTF8.search(cell) for cell in cells):
        return FileRow(number, None, position, "not UTF-8 text")
    values = {name: _parse_cell(name, cell) for name, cell in zip(header, cells, strict=True)}
    return FileRow(number, values, position)


def _parse_cell(name: str, text: str) -> object:
    """The cell's text, or the JSON list in it: of objects in any column, of words or numbers in `_LIST_COLUMNS`."""
    if not text:
        return None
    if not text.startswith("["):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    has_objects = isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)
    return value if has_objects or name in _LIST_COLUMNS else text
