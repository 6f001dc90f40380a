from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from annotation.imports import csv_reader, file_rows, file_types, json_list_reader
from annotation.imports.file_rows import FileError, FileRow

ROWS = [{"prompt": "Why?", "tags": ["a", "b"]}, {"prompt": "How, and\nwhy?", "tags": []}]


def written(folder: Path, content: bytes | str) -> Path:
    path = folder / "upload"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, name: str) -> list[FileRow]:
    return list(file_types.read_rows(path, file_types.detect_file_type(path, name)))


def rows(path: Path, name: str) -> list[Any]:
    return [row.values for row in read(path, name)]


def test_json_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeff" + "\n\n".join(json.dumps(row) for row in ROWS))
    assert rows(path, "a.jsonl") == ROWS
    assert [row.number for row in read(path, "a.jsonl")] == [1, 3]
    assert read(path, "a.jsonl")[-1].position == path.stat().st_size


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "Pasted list.txt", "a"])
def test_a_json_list(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, "\ufeff \n" + json.dumps(ROWS, indent=1) + "\n")
    assert rows(path, name) == ROWS
    assert [row.number for row in read(path, name)] == [1, 2]
    assert read(path, name)[-1].position == path.stat().st_size
    assert file_types.count_rows(path, "json") == 2


def test_a_list_without_elements_and_a_line_that_is_none(tmp_path: Path) -> None:
    assert rows(written(tmp_path, " [ ] "), "a.json") == []
    assert file_types.detect_file_type(written(tmp_path, "[Why?\n"), "Pasted list.txt") == "list"
    assert file_types.detect_file_type(written(tmp_path, "[1]\n{}\n"), "a.jsonl") == "jsonl"


def test_elements_of_any_length_stand_across_what_is_read_at_once(tmp_path: Path) -> None:
    long = [{"prompt": f"{n}é" * n} for n in (1, 10_000, 2, 90_000, 3)] * 3
    assert rows(written(tmp_path, json.dumps(long, ensure_ascii=False)), "a.json") == long


def test_a_number_across_what_is_read_at_once_is_one_element(tmp_path: Path) -> None:
    path = written(tmp_path, "[" + " " * (json_list_reader.CHUNK - 3) + "1234, {}]")
    assert [bool(row.error) for row in read(path, "a.json")] == [True, False]


def test_wrong_elements_are_named_and_the_others_read(tmp_path: Path) -> None:
    found = read(written(tmp_path, b'[{"prompt": "a"}, 7, {"prompt": "\xff"}, {"prompt": "b"}]'), "a.json")
    assert [(row.number, row.error) for row in found] == [
        (1, ""),
        (2, "not a JSON object: each element is {…}"),
        (3, "not UTF-8 text"),
        (4, ""),
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('[{"a": 1}, {"a" 2}, {}]', "Element 2 cannot be read: Expecting ':' delimiter"),
        ('[{"a": 1}, {"a": 2', "Element 2 cannot be read"),
        ('[{"a": 1}', "The list has no end: the file was cut off after element 1"),
        ('[{"a": 1},', "Element 2 cannot be read"),
        ('[{"a": 1} {"a": 2}]', "After element 1 there is neither"),
        ('[{"a": 1}] {"a": 2}', "There is something after the end"),
        ("[" * 100_000, "Element 1 cannot be read: it is nested too deeply"),
    ],
)
def test_a_list_that_cannot_be_read_on_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    with pytest.raises(FileError, match=sentence):
        read(written(tmp_path, content), "a.json")


def test_an_element_that_never_ends_is_not_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_rows, "MAX_LINE", 2**20)
    path = written(tmp_path, '[{"a": 1}, {"a": "' + "x" * 2**27)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="Element 2 cannot be read: no end within 1 million"):
            read(path, "a.json")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_wrong_lines_are_named_and_the_others_read(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"prompt": "a"}\n{\n[1]\n\xff\n' + b"[" * 100_000 + b"\n")
    found = read(path, "a.jsonl")
    assert [row.number for row in found] == [1, 2, 3, 4, 5]
    assert found[0].error == ""
    assert "not JSON" in found[1].error
    assert "not a JSON object" in found[2].error
    assert found[3].error == "not UTF-8 text"
    assert "nested too deeply" in found[4].error


def test_csv_with_quotes_lists_and_lines_within_cells(tmp_path: Path) -> None:
    path = written(tmp_path, 'prompt,tags,note\n"Why?","[""a"", ""b""]",x\n"How, and\nwhy?",[],\n')
    assert rows(path, "a.csv") == [ROWS[0] | {"note": "x"}, ROWS[1] | {"note": None}]
    assert file_types.count_rows(path, "csv") == 2


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_by_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    path = written(
        tmp_path, delimiter.join(["prompt", "response_1"]) + "\n" + delimiter.join(["Why?", "So."])
    )
    assert rows(path, "a.csv") == [{"prompt": "Why?", "response_1": "So."}]


def test_a_csv_cell_is_a_list_only_where_it_must_be(tmp_path: Path) -> None:
    messages = json.dumps([{"role": "user", "content": "Hi"}]).replace('"', '""')
    path = written(tmp_path, f'prompt,chosen\n"[1, 2] is what?","{messages}"\n"[""a""]",[\n')
    first, second = rows(path, "a.csv")
    assert first == {"prompt": "[1, 2] is what?", "chosen": [{"role": "user", "content": "Hi"}]}
    assert second == {"prompt": '["a"]', "chosen": "["}


def test_csv_errors_name_the_line(tmp_path: Path) -> None:
    found = read(written(tmp_path, b"prompt,\xc3\xa9\none\na,b,c\n\xff,b\n\n"), "a.csv")
    assert [(row.number, row.error) for row in found] == [
        (2, "1 cells, but the file has 2 columns"),
        (3, "3 cells, but the file has 2 columns"),
        (4, "not UTF-8 text"),
    ]


def test_a_csv_cell_that_never_ends_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, 'prompt\n"' + "x" * (csv_reader.MAX_CELL_CHARS + 1))
    with pytest.raises(FileError, match="cannot be read beyond line"):
        read(path, "a.csv")
    with pytest.raises(FileError, match="same name"):
        read(written(tmp_path, "a,a\n1,2\n"), "a.csv")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    many = ROWS * 700
    parquet.write_table(pa.Table.from_pylist([*many, {"prompt": "Last?", "tags": None}]), path)
    found = read(path, "without a suffix")
    assert [row.values for row in found] == [*many, {"prompt": "Last?"}]
    assert found[-1].number == file_types.count_rows(path, "parquet") == 1401
    assert found[-1].position == path.stat().st_size


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, b"PAR1 and nothing more")
    with pytest.raises(FileError, match="damaged Parquet"):
        read(path, "a.parquet")
    with pytest.raises(FileError, match="damaged Parquet"):
        file_types.count_rows(path, "parquet")


def test_a_list_has_a_prompt_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "Why?\n\n  How?  \n")
    assert rows(path, "Pasted list.txt") == [{"prompt": "Why?"}, {"prompt": "How?"}]
    assert file_types.count_rows(path, "list") == 3


def test_json_lines_that_were_pasted_are_json_lines(tmp_path: Path) -> None:
    assert rows(written(tmp_path, '{"prompt": "Why?"}'), "Pasted list.txt") == [{"prompt": "Why?"}]


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"\x1f\x8b\x08", "a.jsonl.gz", "compressed twice"),
        (b"PK\x03\x04", "a.jsonl", "zip archive"),
        (b"prompt", "a.parquet", "not a Parquet file"),
    ],
)
def test_other_files_are_refused_with_what_to_do(
    tmp_path: Path, content: bytes, name: str, sentence: str
) -> None:
    with pytest.raises(FileError, match=sentence):
        file_types.detect_file_type(written(tmp_path, content), name)


@pytest.mark.parametrize(("name", "start"), [("a.jsonl", "{}\n"), ("a.txt", "Why?\n"), ("a.csv", "prompt\n")])
def test_a_line_that_is_too_long_is_not_held_in_memory(
    name: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_rows, "MAX_LINE", 2**20)
    assert len(rows(written(tmp_path, start + "x" * (2**20 - 1) + "\n"), name)) in (1, 2)
    path = written(tmp_path, start + "x" * 2**27)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="Line 2 is longer than 1 MB"):
            rows(path, name)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


TABLE = 'prompt;response_a;response_b\r\n"Was heißt „größer“?";"bigger";"taller"\r\n'


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode(),
        TABLE.encode("utf-8-sig"),
        TABLE.encode("cp1252"),
        TABLE.encode("utf-16"),
        TABLE.replace(";", "\t").encode("utf-16-le").join([b"\xff\xfe", b""]),
        b"sep=;\r\n" + TABLE.encode("cp1252"),
        b"sep=|\r\n" + TABLE.replace(";", "|").encode(),
    ],
)
def test_what_excel_writes_is_read(tmp_path: Path, content: bytes) -> None:
    [row] = read(written(tmp_path, content), "a.csv")
    assert row.values == {"prompt": "Was heißt „größer“?", "response_a": "bigger", "response_b": "taller"}
    assert row.number == (3 if content.startswith(b"sep") else 2)


@pytest.mark.parametrize(
    ("content", "prompts"),
    [
        ('{"version": 1, "data": [{"prompt": "a"}, {"prompt": "b"}]}', ["a", "b"]),
        ('{\n "rows": [\n  {"prompt": "a"}\n ]\n}', ["a"]),
        ('{\n "prompt": "a",\n "responses": ["x", "y"]\n}', ["a"]),
        ('{"prompt": "a"}', ["a"]),
        ('{"prompt": "a"}\n{"prompt": "b"}\n', ["a", "b"]),
    ],
)
def test_one_object_is_a_row_or_a_wrapper_around_rows(
    tmp_path: Path, content: str, prompts: list[str]
) -> None:
    found = read(written(tmp_path, content.encode()), "a.json")
    assert [row.values["prompt"] for row in found if row.values] == prompts


def test_other_objects_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="begins like one JSON object, but is not JSON"):
        read(written(tmp_path, b'{\n "prompt": a\n}'), "a.json")
    assert [row.error for row in read(written(tmp_path, b'{"data": [1]}'), "a.json")] == [
        "not a JSON object: each element is {\u2026}"
    ]
    with pytest.raises(FileError, match="UTF-16"):
        read(written(tmp_path, '{"prompt": "a"}'.encode("utf-16")), "a.jsonl")


def test_missing_numbers_of_pandas_are_null(tmp_path: Path) -> None:
    for name, content in (("a.jsonl", b'{"id": NaN}'), ("a.json", b'[{"id": Infinity}]')):
        [row] = read(written(tmp_path, content), name)
        assert row.values == {"id": None}
