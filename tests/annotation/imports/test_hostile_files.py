"""No file takes much memory, neither of the process that reads it nor of the one that decodes Parquet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from annotation.imports import file_types, parquet_reader
from annotation.imports.file_rows import FileError

MAX_MB = 200
READ = """
import sys
from pathlib import Path
from annotation.imports import file_types
from annotation.imports.file_rows import FileError
path = Path(sys.argv[1])
try:
    for row in file_types.read_rows(path, file_types.detect_file_type(path, sys.argv[2])):
        pass
except FileError as error:
    print(error)
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def table(**columns: object) -> Callable[[Path], None]:
    return lambda path: parquet.write_table(pa.table(columns), path, compression="zstd", store_schema=False)


def repeated(value: object, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * count), pa.array([value]))


def text(*parts: tuple[str, int]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(b"".join(part.encode() * count for part, count in parts)) and None


LARGE = "x" * 2**23
FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a value repeated": ("a.parquet", table(prompt=repeated(LARGE, 300))),
    "a large value": ("a.parquet", table(prompt=[LARGE * 30])),
    "a long list": ("a.parquet", table(prompt=[[1.5] * 10_000_000])),
    "many nulls": ("a.parquet", table(prompt=pa.nulls(500_000, pa.string()))),
    "large messages": ("a.parquet", table(messages=[[{"role": "user", "content": LARGE}] * 20])),
    "empty lists": ("a.jsonl", text(('{"prompt": [', 1), ("[],", 5_000_000), ("1]}\n", 1))),
    "empty objects": ("a.json", text(('[{"prompt": [', 1), ("{},", 5_000_000), ("1]}]", 1))),
    "one object": ("a.json", text(('{"data": [', 1), ("{},", 5_000_000), ("1]}", 1))),
    "depth": ("a.jsonl", text(("[", 16_000_000))),
    "depth in a list": ("a.json", text(("[", 16_000_000))),
    "short words": ("a.jsonl", text(('{"prompt": [', 1), ('"ab",', 3_200_000), ("1]}\n", 1))),
    "numbers": ("a.jsonl", text(('{"prompt": [', 1), ("1.5,", 4_000_000), ("1]}\n", 1))),
    "a long number": ("a.jsonl", text(('{"prompt": ', 1), ("9", 16_000_000), ("}\n", 1))),
    "a line without an end": ("a.jsonl", text(("x", 100_000_000))),
    "wide letters": ("a.jsonl", text(('{"prompt": "\U0001f600', 1), ("x", 16_000_000), ('"}\n', 1))),
    "commas": ("a.csv", text((",", 16_000_000), ("\n", 1))),
    "cells over many lines": ("a.csv", text(("prompt\n", 1), ('"' + "x\n" * 500_000 + '",', 100))),
    "a quotation mark": ("a.csv", text(('prompt\n"', 1), ("x\n", 40_000_000))),
}


@pytest.mark.parametrize("kind", FILES)
def test_it_is_read_or_refused_in_little_memory(kind: str, tmp_path: Path) -> None:
    name, write = FILES[kind]
    path = tmp_path / "upload"
    write(path)
    done = subprocess.run(
        [sys.executable, "-c", READ, path, name], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert int(done.stdout.split()[-1]) < MAX_MB, done.stdout


def test_parquet_that_decodes_to_too_much_says_so(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    FILES["a value repeated"][1](path)
    with pytest.raises(FileError, match="first rows need more than 400 MB of memory"):
        list(file_types.read_rows(path, "parquet"))


def test_a_decoder_that_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, decoder = tmp_path / "upload", tmp_path / "decoder.py"
    table(prompt=["Why?"])(path)
    monkeypatch.setattr(parquet_reader, "DECODER", decoder)
    for program, words in (
        ("import os; os.abort()", "has stopped"),
        ("print(3)", "cannot be read to its end"),
    ):
        decoder.write_text(program)
        with pytest.raises(FileError, match=words):
            list(file_types.read_rows(path, "parquet"))


def test_dates_are_text_and_what_is_not_a_number_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    day = pa.array([1], pa.date32())
    table(prompt=["Why?"], day=day, score=[float("nan")])(path)
    (row,) = file_types.read_rows(path, "parquet")
    assert row.values == {"prompt": "Why?", "day": "1970-01-02"}


def test_an_odd_value_is_an_error_of_its_row(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    columns = {"prompt": ["a?", "b?", "c?"], "at": pa.array([1, 2**40, 3], pa.timestamp("s"))}
    parquet.write_table(pa.table(columns), path)
    rows = list(file_types.read_rows(path, "parquet"))
    assert [bool(row.error) for row in rows] == [False, True, False]
    parquet.write_table(pa.table({"prompt": [b"a?", b"\xff"]}), path)
    rows = list(file_types.read_rows(path, "parquet"))
    assert (rows[0].values, "not UTF-8" in rows[1].error) == ({"prompt": "a?"}, True)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    parquet.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["prompt", "prompt"]), path)
    with pytest.raises(FileError, match="same name"):
        list(file_types.read_rows(path, "parquet"))


def test_a_long_list_after_a_large_element_is_read(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_text('[{"p": "' + "x" * 4_000_000 + '"}' + ',{"p":"a"}' * 300_000 + "]")
    assert sum(row.values == {"p": "a"} for row in file_types.read_rows(path, "json")) == 300_000


def test_lists_in_the_cells_of_a_row_have_a_bound_together(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    cell = '"[' + "{},".replace('"', '""') * 400_000 + '{}]"'
    path.write_text("a;b;c\n" + ";".join([cell] * 3) + "\n1;2;3\n")
    first, second = file_types.read_rows(path, "csv")
    assert "more than 1,000,000 values" in first.error
    assert second.values == {"a": "1", "b": "2", "c": "3"}
