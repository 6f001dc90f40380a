"""Prints the rows of a Parquet file as lines of JSON: a program of its own, whose memory is limited.

    python parquet_rows.py FILE

A file of a kilobyte can decode to gigabytes, and its decoder is a large piece of C++. Here it can do no harm: whatever it asks
for, it gets `MAX_MEMORY`, and the process that reads the lines has none of it.

The first line is the number of rows. Then comes one line per row: an object, or a list of what is wrong with it, in English,
and the values in this text. If the file cannot be read any further, the list ends with `true`; without an error the last line
is `null`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from typing import Any

MAX_MEMORY = 400 * 2**20
"""Of data, in bytes; about 120 MB of them are pyarrow's own."""
MAX_ROW_CHARS = 2**24
MAX_CHARS = 2**31
"""Of all rows together: a few kilobytes can hold millions of equal rows."""
BATCH_ROWS = 64


def main(path: str) -> None:
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others reserve more than they use
    from pyarrow import ArrowException, set_cpu_count
    from pyarrow.parquet import ParquetFile

    set_cpu_count(1)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogatepass")  # type: ignore[union-attr]
    number = characters = 0
    try:
        # column chunks are read piece by piece
        file = ParquetFile(path, pre_buffer=False, buffer_size=2**20)
        names = file.schema_arrow.names
        if len(set(names)) < len(names):
            return _end(gettext_noop("Two of its columns have the same name."))
        _print(file.metadata.num_rows)
        for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            for line in _lines(batch):
                number += 1
                sys.stdout.write(f"{line}\n")
                characters += len(line)
                if characters > MAX_CHARS:
                    return _end(
                        gettext_noop("Its first %(n)s rows are more than %(size)s GB."),
                        n=f"{number:,}",
                        size=MAX_CHARS // 2**30,
                    )
        _print(None)
    except MemoryError:
        size = MAX_MEMORY // 2**20
        if number:
            _end(
                gettext_noop(
                    "Its rows after row %(n)s need more than %(size)s MB of memory: write it with smaller values."
                ),
                n=number,
                size=size,
            )
        else:
            _end(
                gettext_noop(
                    "Its first rows need more than %(size)s MB of memory: write it with smaller values."
                ),
                size=size,
            )
    except (ArrowException, OSError) as error:
        if number:
            _end(gettext_noop("It cannot be read beyond row %(n)s: %(error)s"), n=number, error=str(error))
        else:
            _end(gettext_noop("It is a damaged Parquet file: %(error)s"), error=str(error))


def gettext_noop(text: str) -> str:
    """The text itself: `parquet_reader` translates it."""
    return text


def _end(problem: str, **values: object) -> None:
    _print([problem, values, True])


def _print(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")


def _lines(batch: Any) -> Iterator[str]:
    columns = list(zip(batch.schema.names, batch.columns, strict=True))
    for row in range(batch.num_rows):
        try:
            values = {name: column[row].as_py() for name, column in columns}
            line = json.dumps(values, default=_text, ensure_ascii=False)
        except UnicodeDecodeError:
            yield json.dumps([gettext_noop("not UTF-8: the file has text in another encoding"), {}])
            continue
        except (ValueError, OverflowError, RecursionError) as error:
            yield json.dumps([gettext_noop("a value that cannot be read: %(error)s"), {"error": str(error)}])
            continue
        if len(line) > MAX_ROW_CHARS:
            line = json.dumps([gettext_noop("larger than %(size)s MB"), {"size": MAX_ROW_CHARS // 2**20}])
        yield line


def _text(value: Any) -> str:
    """What JSON has no type for: dates and the like as text, bytes if they are text."""
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main(sys.argv[1])
