"""File types that can be imported (JSON Lines, a JSON list or object, CSV, Parquet, a list of prompts): detection, reading,
row counts."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from annotation.imports.csv_reader import read_csv
from annotation.imports.file_rows import FileError, FileRow
from annotation.imports.json_lines_reader import read_json_lines, read_prompt_list
from annotation.imports.json_list_reader import read_json_list
from annotation.imports.json_object_reader import read_json_object
from annotation.imports.parquet_reader import count_parquet_rows, read_parquet
from annotation.logic.translation import gettext as _

READERS: dict[str, Callable[[Path], Iterator[FileRow]]] = {
    "jsonl": read_json_lines,
    "json": read_json_list,
    "object": read_json_object,
    "csv": read_csv,
    "parquet": read_parquet,
    "list": read_prompt_list,
}
UNITS = {"parquet": "row", "json": "element", "object": "element"}
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
        raise FileError(_("It is not a Parquet file, though its name says so."))
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FileError(_("It is text in UTF-16: save it as UTF-8."))
    if head.startswith(b"PK\x03\x04"):
        raise FileError(_("It is a zip archive: unpack it first, or compress the file with gzip."))
    if head.startswith(b"\x1f\x8b"):
        raise FileError(_("It is compressed twice: decompress it once."))
    if _JSON_LIST.match(text) or (suffix == ".json" and text.lstrip().startswith(b"[")):
        return "json"
    if text.lstrip().startswith(b"{") and not _is_json_lines(text, suffix):
        return "object"
    if suffix == ".txt" and not text.lstrip().startswith(b"{"):
        return "list"
    return "jsonl"


def _is_json_lines(head: bytes, suffix: str) -> bool:
    """Whether a file that begins with an object has one on each line."""
    first, newline, rest = head.lstrip().partition(b"\n")
    if not newline:
        return suffix != ".json"  # a single line, or one that goes beyond the head
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return first.strip() != b"{" and suffix != ".json"
    return bool(rest.strip()) or suffix != ".json"


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
    if file_type in ("csv", "json", "object"):
        if path.stat().st_size > COUNT_BYTES:
            return None
        return sum(1 for _ in read_rows(path, file_type))
    with path.open("rb") as file:
        lines, last = 0, b"\n"
        while chunk := file.read(2**20):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return lines + (last != b"\n")
