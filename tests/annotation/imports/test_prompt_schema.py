from __future__ import annotations

import json
from typing import Any

import pytest

from annotation.imports.prompt_schema import RowError, parse_prompt


def parse(**data: object) -> Any:
    return parse_prompt(json.dumps(data))


class TestParse:
    def test_a_text_is_the_users_message(self) -> None:
        assert parse(prompt="Why?").messages == [{"role": "user", "content": "Why?"}]

    def test_without_an_id_the_same_prompt_has_the_same_one(self) -> None:
        first, again, other = parse(prompt="Why?"), parse(prompt="Why?", tags=["x"]), parse(prompt="How?")
        assert first.external_id == again.external_id != other.external_id

    def test_an_id_may_be_a_number(self) -> None:
        assert parse(id=17, prompt="Why?").external_id == "17"

    def test_responses_may_have_an_author(self) -> None:
        row = parse(prompt="Why?", responses=["a", {"text": "b", "author": "gpt"}])
        assert [(answer.text, answer.author) for answer in row.responses] == [("a", "imported"), ("b", "gpt")]

    def test_right_to_left_text_and_markup_are_kept_as_they_are(self) -> None:
        text = "\u202bمرحبا\u202c <script>alert('x')</script>"
        assert parse(prompt=text).messages[0]["content"] == text

    def test_an_answer_may_have_100_000_characters(self) -> None:
        assert len(parse(prompt="Why?", responses=["x" * 100_000, "y"]).responses[0].text) == 100_000

    @pytest.mark.parametrize(
        ("line", "sentence"),
        [
            ("{", "not JSON"),
            ("null", "not a JSON object"),
            ("[]", "not a JSON object"),
            ('"text"', "not a JSON object"),
            ("[" * 100_000, "not JSON: nested too deeply"),
            ('{"prompt": ' + "[" * 100_000, "not JSON: nested too deeply"),
            ("{}", "prompt: missing"),
            ('{"prompt": ""}', "prompt: empty"),
            ('{"prompt": "  \\n"}', "prompt: empty"),
            ('{"prompt": 3}', "prompt: missing"),
            ('{"prompt": []}', "prompt: missing"),
            ('{"prompt": ["a"]}', r"prompt\[0\]: not a"),
            ('{"prompt": [{"role": "user"}]}', r"prompt\[0\]: not a"),
            ('{"prompt": [{"role": "tool", "content": "a"}]}', r"prompt\[0\].role: 'tool' is none of"),
            ('{"prompt": [{"role": ["user"], "content": "a"}]}', r"prompt\[0\].role"),
            ('{"prompt": [{"role": "user", "content": 3}]}', r"prompt\[0\].content: not a text"),
            ('{"prompt": [{"role": "assistant", "content": "a"}]}', "last message must be the user's"),
            ('{"prompt": "a\\u0000b"}', "prompt: holds a null byte"),
            ('{"prompt": "a\\ud800b"}', "prompt: holds half of a character"),
            ('{"prompt": "a", "id": ""}', "id: empty"),
            ('{"prompt": "a", "id": "' + "x" * 201 + '"}', "id: 201 characters"),
            ('{"prompt": "a", "id": true}', "id: not a text"),
            ('{"prompt": "a", "id": {"a": 1}}', "id: not a text"),
            ('{"prompt": "a", "id": 1.5}', "id: not a text"),
            ('{"prompt": "a", "answers": []}', "unknown field 'answers'"),
            ('{"prompt": "a", "\\ud800": []}', "unknown field"),
            ('{"prompt": "a", "responses": "b"}', "responses: not a list"),
            ('{"prompt": "a", "responses": ["b"]}', "responses: 1 given, an item has 2 to 9"),
            (
                '{"prompt": "a", "responses": ["1","2","3","4","5","6","7","8","9","0"]}',
                "responses: 10 given",
            ),
            ('{"prompt": "a", "responses": ["b", " "]}', r"responses\[2\]: empty"),
            ('{"prompt": "a", "responses": ["b", 2]}', r"responses\[2\]: not a text, nor"),
            (
                '{"prompt": "a", "responses": ["b", {"text": "c", "model": "d"}]}',
                r"responses\[2\]: not a text, nor",
            ),
            (
                '{"prompt": "a", "responses": ["b", {"text": "c", "author": ""}]}',
                r"responses\[2\].author: empty",
            ),
            (
                '{"prompt": "a", "responses": ["b", "' + "c" * 100_001 + '"]}',
                "100,001 characters, at most 100,000",
            ),
            ('{"prompt": "a", "tags": ["' + "c" * 61 + '"]}', r"tags\[0\]: 61 characters"),
            ('{"prompt": "a", "tags": [1]}', r"tags\[0\]: not a text"),
            ('{"prompt": "a", "tags": "b"}', "tags: not a list"),
            ('{"prompt": "a", "tags": 0}', "tags: not a list"),
        ],
    )
    def test_it_says_what_is_wrong(self, line: str, sentence: str) -> None:
        with pytest.raises(RowError, match=sentence) as caught:
            parse_prompt(line)
        assert len(str(caught.value)) < 300
        str(caught.value).encode()
