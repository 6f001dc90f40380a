"""Rows as the public data sets have them, shortened."""

from __future__ import annotations

from typing import Any

import pytest

from annotation.imports import dataset_formats
from annotation.imports.dataset_formats import DATASET_FORMATS, NotComparable
from annotation.imports.prompt_schema import ImportedPrompt, RowError

USER = {"role": "user", "content": "Why is the sky blue?"}
SHORT = {"role": "assistant", "content": "Because of the air."}
LONG = {"role": "assistant", "content": "Blue light is scattered most."}
HH = "\n\nHuman: Why is the sky blue?\n\nAssistant: "

ROWS: dict[str, dict[str, Any]] = {
    "palate": {"prompt": USER["content"], "responses": [SHORT["content"], LONG["content"]], "tags": ["air"]},
    "hh-rlhf": {"chosen": HH + SHORT["content"], "rejected": HH + LONG["content"]},
    "ultrafeedback": {
        "source": "evol_instruct",
        "instruction": USER["content"],
        "models": ["alpaca-7b", "gpt-4"],
        "completions": [
            {"model": "alpaca-7b", "response": SHORT["content"], "overall_score": 4.0, "annotations": {}},
            {"model": "gpt-4", "response": LONG["content"], "overall_score": 8.5, "annotations": {}},
        ],
        "correct_answers": ["None"],
    },
    "ultrafeedback-binarized": {
        "prompt": USER["content"],
        "prompt_id": "f0e37e9f",
        "chosen": [USER, SHORT],
        "rejected": [USER, LONG],
        "messages": [USER, SHORT],
        "score_chosen": 8.5,
        "score_rejected": 4.0,
    },
    "helpsteer3": {
        "domain": "general",
        "language": "english",
        "context": [USER],
        "response1": SHORT["content"],
        "response2": LONG["content"],
        "overall_preference": -2,
        "individual_preference": [{"score": -2, "reasoning": "…"}],
    },
    "helpsteer2-preference": {
        "split": "train",
        "prompt": USER["content"],
        "response_1": SHORT["content"],
        "response_2": LONG["content"],
        "preference_strength": -1,
    },
    "arena": {
        "question_id": "58210e39",
        "model_a": "vicuna-13b",
        "model_b": "koala-13b",
        "winner": "model_a",
        "judge": "arena_user_973",
        "conversation_a": [USER, SHORT],
        "conversation_b": [USER, LONG],
        "turn": 1,
    },
    "arena-table": {
        "id": 30192,
        "model_a": "vicuna-13b",
        "model_b": "koala-13b",
        "prompt": '["Why is the sky blue?", "And at night?"]',
        "response_a": '["Because of the air.", "It is black."]',
        "response_b": '["Blue light is scattered most.", null]',
        "winner_model_a": 1,
    },
    "trl": {"prompt": [USER], "chosen": [SHORT], "rejected": [LONG]},
    "trl-implicit": {"chosen": [USER, SHORT], "rejected": [USER, LONG]},
    "table": {"prompt": USER["content"], "response_1": SHORT["content"], "response_2": LONG["content"]},
}


def converted(row: dict[str, Any]) -> ImportedPrompt:
    return dataset_formats.convert_row(dataset_formats.detect_format(row), row)


@pytest.mark.parametrize("name", ROWS)
def test_it_is_recognised_and_both_answers_are_read(name: str) -> None:
    assert dataset_formats.detect_format(ROWS[name]).name == name
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
    assert dataset_formats.detect_format({"prompt": "Why?", "source": "web"}).name == "prompts"
    assert converted({"prompt": [USER], "source": "web"}).responses == []


def test_rows_of_one_answer_are_joined() -> None:
    row = {"prompt": USER["content"], "response": SHORT["content"], "helpfulness": 3}
    format = dataset_formats.detect_format(row)
    assert (format.name, format.one_response_per_row) == ("helpsteer2", True)
    first, second = (dataset_formats.convert_row(format, row | {"response": text}) for text in ("a", "b"))
    assert dataset_formats.can_merge(first, second)
    assert [response.text for response in dataset_formats.merge(first, second).responses] == ["a", "b"]
    assert not dataset_formats.can_merge(
        first, dataset_formats.convert_row(format, row | {"prompt": "Another?"})
    )


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
    ],
)
def test_what_cannot_be_compared_is_set_aside(row: dict[str, str], why: str) -> None:
    with pytest.raises(NotComparable, match=why):
        converted(row)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"question": "Why?", "answer": "So."}, "unknown format: its columns are answer, question"),
        ({}, "its columns are none"),
        ({"instruction": "Why?", "completions": "x"}, "completions: not a list"),
        ({"instruction": "Why?", "completions": [1]}, r"completions\[0\]: not an object"),
        ({"instruction": "Why?", "completions": [{"response": ""}]}, "answer 1: empty"),
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
