"""Files of rows that people bring: JSON Lines, a JSON list, CSV, Parquet, or a plain list of prompts. Read row by row: memory
stays flat however long they are."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, AnyStr, cast

from annotation.imports.json_elements import ListError, elements

Row = dict[str, Any]

MAX_CELL_CHARS = 2**21
MAX_LINE = 2**25  # bytes, or characters of a CSV file: more than the largest row that can be kept
PARQUET_ROWS = 500
COUNT_BYTES = 20 * 2**20  # rows of larger files are not counted, where that means reading each
UNITS = {"parquet": "row", "json": "element"}
"""What `Read.number` counts in files of a kind; in all others, lines."""
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of bytes that are no text
_JSON_LIST = re.compile(rb"\s*\[\s*[{\]]")
_LISTS = ("responses", "tags", "gold")  # columns that a CSV file may spell as a JSON list of words or numbers


class FileError(ValueError):
    """Why the whole file cannot be read, in a sentence."""


@dataclass(frozen=True)
class Read:
    """One row as it stands in the file, or what is wrong with it. `number` counts lines, or what UNITS says, from 1;
    `position` is how many bytes of the file have been read."""

    number: int
    row: Row | None
    position: int
    error: str = ""


def kind_of(path: Path, name: str) -> str:
    """`parquet`, `csv`, `json`, `jsonl` or `list`: by how the file begins, and where that says nothing by its name's end,
    before which `.gz` means nothing.

    Raises:
        FileError: it is something else.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf")
    suffix = Path(name.lower().removesuffix(".gz")).suffix
    if suffix in (".csv", ".tsv"):
        return "csv"
    if suffix == ".parquet":
        raise FileError("It is not a Parquet file, though its name says so.")
    if head.startswith(b"PK\x03\x04"):
        raise FileError("It is a zip archive: unpack it first, or pack the file with gzip.")
    if head.startswith(b"\x1f\x8b"):
        raise FileError("It is packed twice: unpack it once.")
    if _JSON_LIST.match(text) or (suffix == ".json" and text.lstrip().startswith(b"[")):
        return "json"
    if suffix == ".txt" and not text.lstrip().startswith(b"{"):
        return "list"
    return "jsonl"


def rows(path: Path, kind: str) -> Iterator[Read]:
    """The rows of a file, in order.

    Raises:
        FileError: it cannot be read at all, or not any further.
    """
    readers = {"parquet": _parquet, "csv": _csv, "json": _json, "list": _list, "jsonl": _jsonl}
    return readers[kind](path)


def count(path: Path, kind: str) -> int | None:
    """How many rows there are, where that can be told quickly; empty lines are counted too."""
    if kind == "parquet":
        return int(_parquet_file(path).metadata.num_rows)
    if kind in ("csv", "json"):
        if path.stat().st_size > COUNT_BYTES:
            return None
        return sum(1 for _ in rows(path, kind))
    with path.open("rb") as file:
        lines, last = 0, b"\n"
        while chunk := file.read(2**20):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return lines + (last != b"\n")


def object_of(text: str) -> Row:
    """One JSON object.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError("not a JSON object: each line is {…}")
    return data


def _json(path: Path) -> Iterator[Read]:
    with path.open("rb") as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        try:
            for number, (value, written) in enumerate(elements(text, longest=MAX_LINE), start=1):
                if _NOT_UTF8.search(written):
                    yield Read(number, None, raw.tell(), "not UTF-8 text")
                elif not isinstance(value, dict):
                    yield Read(number, None, raw.tell(), "not a JSON object: each element is {…}")
                else:
                    yield Read(number, value, raw.tell())
        except ListError as error:
            raise FileError(str(error)) from None


def _lines(path: Path) -> Iterator[tuple[int, str | None, int]]:
    """Each line's number, its text (None: not UTF-8) and where it ends; lines without any text are left out."""
    position = 0
    with path.open("rb") as file:
        for number, line in enumerate(_pieces(file), start=1):
            position += len(line)
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                yield number, None, position
                continue
            if text:
                yield number, text, position


def _pieces(file: IO[AnyStr]) -> Iterator[AnyStr]:
    """The file's lines.

    Raises:
        FileError: one is so long that it must not be held in memory.
    """
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise FileError(f"Line {number} is longer than {MAX_LINE // 2**20} MB.")
        yield line


def _jsonl(path: Path) -> Iterator[Read]:
    for number, text, position in _lines(path):
        try:
            if text is None:
                raise ValueError("not UTF-8 text")
            yield Read(number, object_of(text), position)
        except ValueError as error:
            yield Read(number, None, position, str(error))


def _list(path: Path) -> Iterator[Read]:
    for number, text, position in _lines(path):
        if text is None:
            yield Read(number, None, position, "not UTF-8 text")
        else:
            yield Read(number, {"prompt": text}, position)


def _csv(path: Path) -> Iterator[Read]:
    csv.field_size_limit(MAX_CELL_CHARS)
    with path.open("rb") as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        head = raw.peek(4096)[:4096].decode("utf-8", errors="replace").partition("\n")[0]
        table = csv.reader(_pieces(text), delimiter=max(",;\t", key=head.count))
        try:
            header = [name.strip() for name in next(table, [])]
            if len(set(header)) < len(header):
                raise FileError("Two of its columns have the same name.")
            for cells in table:
                if any(cells):
                    yield _csv_row(table.line_num, header, cells, raw.tell())
        except csv.Error as error:
            raise FileError(f"It cannot be read beyond line {table.line_num}: {error}.") from None


def _csv_row(number: int, header: list[str], cells: list[str], position: int) -> Read:
    if len(cells) != len(header):
        return Read(number, None, position, f"{len(cells)} cells, but the file has {len(header)} columns")
    if any(_NOT_UTF8.search(cell) for cell in cells):
        return Read(number, None, position, "not UTF-8 text")
    row = {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True) if cell}
    return Read(number, row, position)


def _cell(name: str, text: str) -> object:
    """A cell's text, or the list that it spells: of objects in any column, of words or numbers where lists belong."""
    if not text.startswith("["):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    objects = isinstance(value, list) and bool(value) and all(isinstance(element, dict) for element in value)
    return value if objects or name in _LISTS else text


def _parquet(path: Path) -> Iterator[Read]:
    from pyarrow import ArrowException

    file = _parquet_file(path)
    total, size, number = file.metadata.num_rows, path.stat().st_size, 0
    try:
        for batch in file.iter_batches(batch_size=PARQUET_ROWS):
            for row in cast("list[Row]", batch.to_pylist()):
                number += 1
                present = {name: value for name, value in row.items() if value is not None}
                yield Read(number, present, size * number // total)
    except (ArrowException, OSError) as error:
        raise FileError(f"It cannot be read beyond row {number}: {error}") from None


def _parquet_file(path: Path) -> Any:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise FileError(f"It is a damaged Parquet file: {error}") from None
