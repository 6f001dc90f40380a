"""Pasted blocks become rows of Palate's own format."""

from __future__ import annotations

import json

import pytest

from annotation.imports.pasted_text import blocks_as_json_lines, has_blocks

TWO = "Why?\nAnd how?\n---\nBecause.\n\nIndeed.\n---\nNo idea.\n===\nName a prime.\n===\n\n"


def test_blocks_have_several_lines_and_answers() -> None:
    assert [json.loads(line) for line in blocks_as_json_lines(TWO).splitlines()] == [
        {"prompt": "Why?\nAnd how?", "responses": ["Because.\n\nIndeed.", "No idea."]},
        {"prompt": "Name a prime."},
    ]


def test_windows_line_ends_and_longer_lines_divide_too() -> None:
    rows = blocks_as_json_lines("A?\r\n-----  \r\nb\r\n----\r\nc\r\n=====\r\nB?").splitlines()
    assert [json.loads(row) for row in rows] == [{"prompt": "A?", "responses": ["b", "c"]}, {"prompt": "B?"}]


@pytest.mark.parametrize("text", ["Why?\nHow?", "a --- b", "x\n--\ny", "a === b"])
def test_a_plain_list_has_none(text: str) -> None:
    assert not has_blocks(text)


def test_a_block_without_a_prompt_is_reported() -> None:
    assert json.loads(blocks_as_json_lines("\n---\nb\n---\nc")) == {"prompt": "", "responses": ["b", "c"]}
