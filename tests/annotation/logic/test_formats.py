from __future__ import annotations

import json
from typing import Any

import pytest

from annotation.logic.formats import FORMATS, LineError, Row, export, parse_prompt

ROW: Row = {
    "judgment": 7,
    "project": "helpfulness",
    "item": 3,
    "prompt_id": "q1",
    "split": "train",
    "tags": [],
    "probability": 1.0,
    "messages": [{"role": "user", "content": "שלום — what\u2028is this?"}],
    "responses": [{"id": n, "author": "m", "text": f"answer {n}"} for n in range(3)],
    "ranks": [2, 1, 2],
    "degree": None,
    "shown_order": [2, 0, 1],
    "annotator": "annotator-1",
    "guideline": 1,
    "rationale": "",
    "seconds": 4.2,
    "counted": True,
    "created_at": "2026-01-01T00:00:00.000000Z",
}


def lines(format: str, **changes: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export([ROW | changes], format)]  # type: ignore[list-item]


class TestExport:
    def test_trl_has_a_line_for_every_pair_and_none_for_a_tie(self) -> None:
        found = lines("trl")
        assert [(line["chosen"][0]["content"], line["rejected"][0]["content"]) for line in found] == [
            ("answer 1", "answer 0"),
            ("answer 1", "answer 2"),
        ]
        assert all(set(line) == {"prompt", "chosen", "rejected", "margin"} for line in found)
        assert found[0]["prompt"] == ROW["messages"]
        assert found[0]["margin"] == 0.0

    def test_trl_carries_the_degree_as_a_margin(self) -> None:
        two = {"responses": ROW["responses"][:2], "ranks": [1, 2]}
        assert [
            lines("trl", **two, degree=degree)[0]["margin"] for degree in ("significantly", "slightly")
        ] == [
            1.0,
            1 / 3,
        ]

    def test_rankings_has_a_line_for_every_ranking(self) -> None:
        assert lines("rankings") == [
            {
                "prompt": ROW["messages"],
                "responses": ["answer 0", "answer 1", "answer 2"],
                "ranks": [2, 1, 2],
            }
        ]

    def test_raw_has_all_there_is(self) -> None:
        (line,) = lines("raw")
        assert line["ranking"] == [[1], [0, 2]]
        assert line.items() >= dict(ROW).items()

    def test_what_does_not_count_stands_in_raw_only(self) -> None:
        assert {format: len(lines(format, counted=False)) for format in FORMATS} == {
            "raw": 1,
            "trl": 0,
            "rankings": 0,
        }

    def test_a_line_is_a_line_whatever_the_text_holds(self) -> None:
        nasty = "a\nb\r\nc\x0bd\x0ce\u2028f\u2029g\x85h <script>alert(1)</script> \u202eevil \U0001f600"
        texts = [{"id": 1, "author": "m", "text": nasty}, {"id": 2, "author": "m", "text": "b"}]
        (written,) = export([ROW | {"responses": texts, "ranks": [1, 2]}], "trl")  # type: ignore[list-item]
        assert written.count("\n") == 1
        assert "\r" not in written
        assert json.loads(written)["chosen"][0]["content"] == nasty


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
            ('{"prompt": "a", "responses": ["b", "b"]}', "responses: two of them are identical"),
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
        with pytest.raises(LineError, match=sentence) as caught:
            parse_prompt(line)
        assert len(str(caught.value)) < 300
        str(caught.value).encode()
