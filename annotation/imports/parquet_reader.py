"""Parquet files, decoded by a process of its own (`parquet_rows`)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annotation.imports.file_rows import FileError, FileRow, check_values, decode_json
from annotation.logic.translation import gettext as _

DECODER = Path(__file__).with_name("parquet_rows.py")


def read_parquet(path: Path) -> Iterator[FileRow]:
    """Its rows, without the columns that are null."""
    size = path.stat().st_size
    with _decoded(path) as lines:
        total = _count(lines)
        for number, line in enumerate(lines, start=1):
            if line is None:
                return
            problem = _problem(line)
            if isinstance(line, list) and len(line) > 2:
                raise FileError(problem)
            position = size * number // max(1, total)
            if problem:
                yield FileRow(number, None, position, error=problem)
            else:
                values = {name: value for name, value in line.items() if value is not None}
                yield FileRow(number, values, position)
    raise FileError(_("It cannot be read to its end: the program that decodes Parquet files has stopped."))


def count_parquet_rows(path: Path) -> int:
    with _decoded(path) as lines:
        return _count(lines)


def _count(lines: Iterator[Any]) -> int:
    """
    Raises:
        FileError: it is no Parquet file that can be read.
    """
    first = next(lines, None)
    if first is None:
        raise FileError(_("It is a damaged Parquet file: the program that decodes it has stopped."))
    if problem := _problem(first):
        raise FileError(problem)
    return int(first)


def _problem(line: Any) -> str:
    """What a line says is wrong; empty if nothing is."""
    if isinstance(line, str):
        return line
    return _(line[0]) % line[1] if isinstance(line, list) else ""


@contextmanager
def _decoded(path: Path) -> Iterator[Iterator[Any]]:
    """The lines that the decoder prints; it ends with the context."""
    with subprocess.Popen(
        [sys.executable, "-I", DECODER, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        errors="surrogatepass",
        env={},
    ) as process:
        assert process.stdout is not None
        try:
            yield _parsed(process.stdout)
        finally:
            process.kill()


def _parsed(lines: Iterable[str]) -> Iterator[Any]:
    """Each line as JSON. What has too many values is an error of its row; what is no JSON is where the program stopped."""
    for line in lines:
        try:
            check_values(line)
        except ValueError as error:
            yield str(error)
            continue
        try:
            yield decode_json(line)
        except ValueError:
            return
