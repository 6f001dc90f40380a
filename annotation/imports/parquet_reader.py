"""Parquet files, read in batches of rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from annotation.imports.file_rows import FileError, FileRow, JsonObject

BATCH_ROWS = 500


def read_parquet(path: Path) -> Iterator[FileRow]:
    """Its rows, without the columns that are null."""
    from pyarrow import ArrowException

    file = _open(path)
    total, size, number = file.metadata.num_rows, path.stat().st_size, 0
    try:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            for row in cast("list[JsonObject]", batch.to_pylist()):
                number += 1
                values = {name: value for name, value in row.items() if value is not None}
                yield FileRow(number, values, size * number // total)
    except (ArrowException, OSError) as error:
        raise FileError(f"It cannot be read beyond row {number}: {error}") from None


def count_parquet_rows(path: Path) -> int:
    return int(_open(path).metadata.num_rows)


def _open(path: Path) -> Any:
    # pyarrow takes a second to load, and most imports do not need it
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise FileError(f"It is a damaged Parquet file: {error}") from None
