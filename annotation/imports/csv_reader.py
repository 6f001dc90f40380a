"""CSV: a header of unique names; comma, semicolon, tab or what a first line `sep=` says; cells that hold JSON lists where a
column has lists; in UTF-8, or in UTF-16 or Windows-1252, which Excel writes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from annotation.imports import file_rows
from annotation.imports.encodings import detect_encoding
from annotation.imports.file_rows import NOT_UTF8, FileError, FileRow, check_values
from annotation.imports.line_reader import read_lines
from annotation.logic.translation import format_number
from annotation.logic.translation import gettext as _

MAX_CELL_CHARS = 2**21
MAX_CELLS = 100_000
"""Of one row, commas within texts counted."""
_LIST_COLUMNS = ("responses", "tags", "gold")  # may hold a JSON list of words or numbers


def read_csv(path: Path) -> Iterator[FileRow]:
    csv.field_size_limit(MAX_CELL_CHARS)
    with path.open("rb") as raw:
        text = io.TextIOWrapper(raw, encoding=detect_encoding(path), errors="surrogateescape", newline="")
        number = 0
        try:
            lines, delimiter, skipped = _delimited(read_lines(text))
            budget = _RowBudget(lines, delimiter)
            table = csv.reader(budget, delimiter=delimiter)
            header = [name.strip() for name in next(table, [])]
            if len(set(header)) < len(header):
                raise FileError(_("Two of its columns have the same name."))
            budget.start_row()
            for cells in table:
                number = table.line_num + skipped
                budget.start_row()
                if any(cells):
                    yield _parse_cells(number, header, cells, raw.tell())
        except (csv.Error, UnicodeError) as error:
            raise FileError(
                _("It cannot be read beyond line %(n)s: %(error)s.") % {"n": number, "error": error}
            ) from None


class _RowBudget:
    """Lines, while those of one row have at most `MAX_LINE` characters and `MAX_CELLS` cells: a cell in quotation marks can go
    on over many lines, and a row over many such cells."""

    def __init__(self, lines: Iterator[str], delimiter: str) -> None:
        self.lines, self.delimiter = lines, delimiter
        self.start_row()

    def start_row(self) -> None:
        self.characters = self.cells = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.characters += len(line)
        self.cells += line.count(self.delimiter)
        if self.characters > file_rows.MAX_LINE or self.cells > MAX_CELLS:
            raise csv.Error(
                _("the next row has more than %(size)s MB or %(cells)s cells")
                % {"size": file_rows.MAX_LINE // 2**20, "cells": format_number(MAX_CELLS)}
            )
        return line


def _delimited(lines: Iterator[str]) -> tuple[Iterator[str], str, int]:
    """The lines of the table, their delimiter, and how many lines stand before them: `sep=;`, which is for Excel, is one."""
    head = next(lines, "")
    if head.lower().startswith("sep=") and head[4:].strip("\r\n"):
        return lines, head[4], 1
    return chain([head], lines), max(",;\t", key=head.count), 0


def _parse_cells(number: int, header: list[str], cells: list[str], position: int) -> FileRow:
    if len(cells) != len(header):
        return FileRow(
            number,
            None,
            position,
            _("%(n)s cells, but the file has %(columns)s columns")
            % {"n": len(cells), "columns": len(header)},
        )
    if any(NOT_UTF8.search(cell) for cell in cells):
        return FileRow(number, None, position, _("not UTF-8 text"))
    try:
        check_values("".join(cell for cell in cells if cell.startswith("[")))
    except ValueError as error:
        return FileRow(number, None, position, str(error))
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
