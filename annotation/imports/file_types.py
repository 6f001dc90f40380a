"""File types that can be imported (JSON Lines, a JSON list, CSV, Parquet, a list of prompts): detection, reading, row counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from annotation.imports.csv_reader import read_csv
from annotation.imports.file_rows import FileError, FileRow
from annotation.imports.json_lines_reader import read_json_lines, read_prompt_list
from annotation.imports.json_list_reader import read_json_list
from annotation.imports.parquet_reader import count_parquet_rows, read_parquet

READERS: dict[str, Callable[[Path], Iterator[FileRow]]] = {
    "jsonl": read_json_lines,
    "json": read_json_list,
    "csv": read_csv,
    "parquet": read_parquet,
    "list": read_prompt_list,
}
UNITS = {"parquet": "row", "json": "element"}
"""What `FileRow.number` counts in files of a type; in all others, lines."""
COUNT_BYTES = 20 * 2**20
"""Rows of larger files are not counted where counting means parsing each of them."""
_JSON_LIST = re.compile(rb"\s*\[\s*[{\]]")


def detect_file_type(path: Path, name: str) -> str:
    """A key of `READERS`: by the file's first bytes and, where they are ambiguous, by the extension (`.gz` is ignored).

    Raises:
        FileError: the file is of another type.
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
        raise FileError("It is a zip archive: unpack it first, or compress the file with gzip.")
    if head.startswith(b"\x1f\x8b"):
        raise FileError("It is compressed twice: decompress it once.")
    if _JSON_LIST.match(text) or (suffix == ".json" and text.lstrip().startswith(b"[")):
        return "json"
    if suffix == ".txt" and not text.lstrip().startswith(b"{"):
        return "list"
    return "jsonl"


def read_rows(path: Path, file_type: str) -> Iterator[FileRow]:
    """The rows of a file, in order, in flat memory.

    Raises:
        FileError: it cannot be read at all, or not any further.
    """
    return READERS[file_type](path)


def count_rows(path: Path, file_type: str) -> int | None:
    """How many rows a file has (lines include empty ones); None where counting would take long."""
    if file_type == "parquet":
        return count_parquet_rows(path)
    if file_type in ("csv", "json"):
        if path.stat().st_size > COUNT_BYTES:
            return None
        return sum(1 for _ in read_rows(path, file_type))
    with path.open("rb") as file:
        lines, last = 0, b"\n"
        while chunk := file.read(2**20):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return lines + (last != b"\n")
