"""Dataset formats: how they are recognised, and what becomes of the columns of a row."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.imports import conversion
from annotation.imports.conversion import Converter
from annotation.imports.dataset_formats import DATASET_FORMATS, NotComparable, detect_format, mapped_format
from annotation.imports.prompt_schema import ImportedPrompt, RowError
from tests.annotation.imports.dataset_rows import HH, LONG, ROWS, SHORT, USER


def converted(row: dict[str, Any]) -> ImportedPrompt:
    return Converter(detect_format(row)).convert(row)


@pytest.mark.parametrize("name", ROWS)
def test_it_is_recognised_and_both_answers_are_read(name: str) -> None:
    assert detect_format(ROWS[name]).name == name
    prompt = converted(ROWS[name])
    assert prompt.messages == [USER]
    assert [response.text for response in prompt.responses] == [SHORT["content"], LONG["content"]]
    assert prompt.gold is None  # what a file prefers is no judgment


@pytest.mark.parametrize(
    ("name", "authors"),
    [
        ("ultrafeedback", ["alpaca-7b", "gpt-4"]),
        ("arena", ["vicuna-13b", "koala-13b"]),
        ("arena-table", ["vicuna-13b", "koala-13b"]),
        ("hh-rlhf", ["imported", "imported"]),
    ],
)
def test_models_are_named_where_the_file_names_them(name: str, authors: list[str]) -> None:
    assert [response.author for response in converted(ROWS[name]).responses] == authors


def test_a_table_may_name_its_models() -> None:
    row = ROWS["table"] | {"model_1": "small", "model_2": "large"}
    assert [response.author for response in converted(row).responses] == ["small", "large"]


def test_trl_as_texts() -> None:
    row = {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}
    assert [response.text for response in converted(row).responses] == [" blue.", " green."]


def test_trl_as_whole_texts_parts_at_the_last_blank_in_common() -> None:
    prompt = converted({"chosen": "The sky is blue.", "rejected": "The sky is black."})
    assert prompt.messages == [{"role": "user", "content": "The sky is"}]
    assert [response.text for response in prompt.responses] == ["blue.", "black."]


def test_prompts_with_other_columns_are_prompts() -> None:
    assert detect_format({"prompt": "Why?", "source": "web"}).name == "prompts"
    assert converted({"prompt": [USER], "source": "web"}).responses == []


def test_rows_of_one_answer_are_joined() -> None:
    row = {"prompt": USER["content"], "response": SHORT["content"], "helpfulness": 3}
    format = detect_format(row)
    assert (format.name, format.one_response_per_row) == ("helpsteer2", True)
    first, second = (converted(row | {"response": text}) for text in ("a", "b"))
    assert conversion.can_merge(first, second)
    merged = conversion.merge(first, second)
    assert [response.text for response in merged.responses] == ["a", "b"]
    assert [response.metadata for response in merged.responses] == [{"helpfulness": 3}] * 2
    assert merged.rows == 2
    assert not conversion.can_merge(first, converted(row | {"prompt": "Another?"}))


def test_of_a_long_conversation_the_first_answers_that_differ_are_compared() -> None:
    more = {"role": "user", "content": "And at night?"}
    black = {"role": "assistant", "content": "It is black."}
    row = {
        "conversation_a": [USER, SHORT, more, black],
        "conversation_b": [USER, SHORT, more, LONG, more],
        "model_a": "a",
        "model_b": "b",
    }
    prompt = converted(row)
    assert prompt.messages == [USER, SHORT, more]
    assert [response.text for response in prompt.responses] == ["It is black.", LONG["content"]]
    assert prompt.left_out == ("turns after the first answers that differ",)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"chosen": HH + "Yes.", "rejected": HH + "Yes."}, "the answers are the same"),
        ({"chosen": HH + "Yes.", "rejected": HH + "Yes.\n\nHuman: Why?"}, "the beginning of the other"),
        (
            {"chosen": HH + "Yes.", "rejected": "\n\nHuman: Else?\n\nAssistant: No."},
            "differ before the answer",
        ),
        ({"chosen": HH + "Yes.", "rejected": HH + ""}, "a turn is empty"),
        ({"chosen": "One thing.", "rejected": "Another thing."}, "no common prefix"),
        ({"instruction": "Why?", "completions": [{"response": ""}]}, "the answer is empty"),
    ],
)
def test_what_cannot_be_compared_is_set_aside(row: dict[str, Any], why: str) -> None:
    with pytest.raises(NotComparable, match=why):
        converted(row)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"question": "Why?", "answer": "So."}, "unknown format: its columns are answer, question"),
        (
            {"prompt": [USER, SHORT | {"tool_calls": [{}]}, USER], "chosen": [SHORT], "rejected": [LONG]},
            "a call of a tool",
        ),
        (
            {"prompt": [USER | {"content": [{"type": "image"}]}], "chosen": "a", "rejected": "b"},
            "part of type 'image'",
        ),
        ({"prompt": "Why?", "chosen": "a", "rejected": "b", "system": "a\0"}, "system: holds a null byte"),
        (
            {
                "prompt": [{"role": "system", "content": "x"}, USER],
                "chosen": "a",
                "rejected": "b",
                "system": "y",
            },
            "a system message already",
        ),
        ({"prompt": "Why?", "responses": ["a", "b"], "metadata": 1}, "metadata: not an object"),
        (
            {"prompt": "Why?", "responses": ["a", "b"], "metadata": {"a": "\ud83d"}},
            "metadata: the text holds half of",
        ),
        ({}, "its columns are none"),
        ({"instruction": "Why?", "completions": "x"}, "completions: not a list of objects"),
        ({"instruction": "Why?", "completions": [1]}, "completions: not a list of objects"),
        (
            {"instruction": "Why?", "completions": [{"response": "a"}] * 10},
            "10 answers, an item has at most 9",
        ),
        ({"prompt": "Why?", "chosen": [USER], "rejected": [SHORT]}, "chosen: its last message is not"),
        ({"prompt": "Why?", "chosen": [{"role": "x"}], "rejected": [SHORT]}, r"chosen\[0\]: not a message"),
        ({"context": [SHORT], "response1": "a", "response2": "b"}, "its last message must be the user's"),
        ({"prompt": "a\0b", "chosen": "x", "rejected": "y"}, "null byte"),
        ({"chosen": HH + "a\0", "rejected": HH + "b"}, "chosen: holds a null byte"),
    ],
)
def test_what_is_wrong_is_said_with_its_column(row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RowError, match=sentence):
        converted(row)


def test_the_same_prompt_has_the_same_name_in_every_format() -> None:
    assert len({converted(row).external_id for row in ROWS.values()}) == 1


def test_every_format_is_found_by_its_name() -> None:
    assert all(name == format.name for name, format in DATASET_FORMATS.items())
    assert max(map(len, DATASET_FORMATS)) <= 40  # the column that keeps it


def test_mapped_columns_have_their_roles() -> None:
    mapping = {"q": "prompt", "a": "answer", "b": "answer", "s": "system", "c": "context"}
    mapping |= {"k": "id", "t1": "tag", "t2": "tag", "m": "metadata", "x": "left out"}
    converter = Converter(mapped_format(mapping))
    row = {
        "q": "Why?",
        "a": "1",
        "b": "2",
        "s": "Be brief.",
        "c": "It is noon.",
        "k": 7.0,
        "t1": "air",
        "t2": None,
    }
    prompt = converter.convert(row | {"m": {"deep": 1}, "x": "secret", "other": "new"})
    assert [message["content"] for message in prompt.messages] == ["Be brief.", "It is noon.\n\nWhy?"]
    assert [response.text for response in prompt.responses] == ["1", "2"]
    assert (prompt.external_id, prompt.tags, prompt.metadata) == ("7", ["air"], {"m": {"deep": 1}})
    assert (converter.columns["x"], converter.undecided, converter.has_unique_ids) == (
        "left out",
        ["other"],
        True,
    )
    with pytest.raises(RowError, match="prompt: missing"):
        converter.convert(row | {"q": None})


COLUMNS = ("read", "metadata", "preference", "ignored")


@pytest.mark.parametrize("name", ROWS)
def test_every_column_of_a_format_is_declared(name: str) -> None:
    converter = Converter(detect_format(ROWS[name]))
    converter.convert(ROWS[name])
    assert set(converter.columns) == set(ROWS[name])
    assert set(converter.columns.values()) <= set(COLUMNS)


def test_fields_of_an_answer_are_its_metadata() -> None:
    first, second = converted(ROWS["ultrafeedback"]).responses
    assert (first.metadata["overall_score"], second.metadata["overall_score"]) == (4.0, 8.5)
    assert converted(ROWS["distilabel"]).responses[1].metadata == {"rationale": "right"}
    assert converted(ROWS["argilla"]).metadata == {"id": "8", "metadata": {"source": "web"}}
    assert converted(ROWS["summaries"]).metadata == {"id": "t3", "subreddit": "science", "worker": "w"}


def test_instruction_and_input_are_the_prompt() -> None:
    row = {
        "instruction": "Translate.",
        "input": "Bread",
        "chosen": "Could be: Brot",
        "rejected": "Could be: Rot",
    }
    prompt = converted(row | {"history": [["Hello", "Hi"]]})
    assert [message["content"] for message in prompt.messages] == ["Hello", "Hi", "Translate.\n\nBread"]
    assert [response.text for response in prompt.responses] == ["Could be: Brot", "Could be: Rot"]


@pytest.mark.parametrize(
    "name", [name for name in ROWS if name not in ("helpsteer3", "nemo-rl", "label-studio", "argilla")]
)
def test_a_system_or_context_column_may_stand_beside_any(name: str) -> None:
    prompt = converted(ROWS[name] | {"system": "Be brief.", "context": "It is noon."})
    assert prompt.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "It is noon.\n\nWhy is the sky blue?"},
    ]
    assert prompt.external_id != converted(ROWS[name]).external_id


def test_one_empty_answer_of_several_is_left_out() -> None:
    answers = [{"response": text, "model": text or "none"} for text in ("a", " ", "b", None)]
    prompt = converted({"instruction": "Why?", "completions": answers})
    assert [response.author for response in prompt.responses] == ["a", "b"]
    assert prompt.left_out == ("empty answers", "empty answers")
    with pytest.raises(NotComparable, match="fewer than two"):
        converted({"instruction": "Why?", "completions": answers[:2]})


def test_parts_of_text_are_joined() -> None:
    parts = [{"type": "text", "text": "Why is"}, {"type": "text", "text": "that?", "image": None}]
    assert converted({"prompt": [USER | {"content": parts}], "completion": "So."}).messages == [
        {"role": "user", "content": "Why is\n\nthat?"}
    ]


class TestOtherColumns:
    ROW = ROWS["trl"] | {"topic": "air", "length": 3, "seen": True, "empty": None}

    def converter(self, **options: Any) -> Converter:
        return Converter(detect_format(self.ROW), **options)

    def test_a_text_column_is_undecided_and_a_number_is_metadata(self) -> None:
        converter = self.converter()
        assert converter.convert(self.ROW).metadata == {"length": 3, "seen": True}
        assert converter.undecided == ["topic"]
        converter.convert(self.ROW | {"empty": ["x"]})
        assert converter.undecided == ["topic", "empty"]

    def test_other_columns_are_kept_as_metadata(self) -> None:
        converter = self.converter(other_columns="metadata")
        assert converter.convert(self.ROW).metadata == {"topic": "air", "length": 3, "seen": True}
        assert not converter.undecided

    def test_or_left_out_and_named(self) -> None:
        converter = self.converter(other_columns="leave out")
        assert converter.convert(self.ROW).metadata == {}
        assert [name for name, use in converter.columns.items() if use == "left out"] == [
            *("topic", "length", "seen", "empty")
        ]

    def test_a_row_with_the_columns_of_another_format_is_none_of_this_one(self) -> None:
        converter = Converter(detect_format(ROWS["palate"]))
        with pytest.raises(
            RowError, match="a row of the format TRL preferences, but the file begins with Palate"
        ):
            converter.convert(ROWS["trl"])

    def test_what_pandas_writes_for_missing_values_is_null(self) -> None:
        row = {"id": 7.0, "prompt": "Why?", "responses": ["a", "b"], "tags": float("nan")}
        prompt = Converter(detect_format(row)).convert(row)
        assert (prompt.external_id, prompt.tags) == ("7", [])


WORDS = st.sampled_from(
    ["prompt", "question", "chosen", "rejected", "responses", "topic", "score", "system", "id"]
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(0, 9)
    | st.text(max_size=5)
    | st.lists(st.text(max_size=5), max_size=3)
)


@given(
    rows=st.lists(st.dictionaries(WORDS, VALUES, min_size=1), min_size=1, max_size=4),
    how=st.sampled_from(["stop", "metadata", "leave out"]),
)
def test_no_column_disappears(rows: list[dict[str, Any]], how: Any) -> None:
    """Whatever a row holds: each of its columns is accounted for, and what is said to be kept is there."""
    try:
        converter = Converter(detect_format(rows[0]), other_columns=how)
    except RowError:
        return
    for row in rows:
        try:
            prompt = converter.convert(row)
        except (RowError, NotComparable):
            continue
        assert set(row) <= set(converter.columns)
        for name, value in row.items():
            if converter.columns[name] == "metadata" and value is not None:
                assert prompt.metadata[name] == value


GUIDE = (Path(__file__).parents[3] / "docs" / "imports.md").read_text()
EXAMPLES = re.findall(r"### (.+)\n\n(?:[^`\n].*\n\n)?```json\n(.+)\n```", GUIDE)


def test_the_guide_has_an_example_of_every_format() -> None:
    assert [title for title, _ in EXAMPLES if EXAMPLES.count((title, _)) > 1] == []
    assert {title for title, _ in EXAMPLES} == {format.title for format in DATASET_FORMATS.values()}


@pytest.mark.parametrize(("title", "row"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_the_guide_s_examples_are_what_they_are_called(title: str, row: str) -> None:
    values = json.loads(row)
    converter = Converter(detect_format(values))
    assert converter.format.title == title
    if converter.format.join:
        return  # a row alone says nothing
    assert converter.convert(values).messages
    assert not converter.undecided
