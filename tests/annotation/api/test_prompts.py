from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from django.test import RequestFactory, TestCase, override_settings

from annotation.api.errors import TooLarge
from annotation.api.prompts import _read_limited
from annotation.models import AuditEntry, Item, Prompt, Response
from tests import builders
from tests.annotation.api.base import ApiTestCase, EndpointTests

PATH = "projects/helpfulness/prompts/"
NDJSON = "application/x-ndjson"
TWO = {"id": "q1", "prompt": "Why?", "responses": ["Because.", "Why not?"]}


class PromptsTestCase(ApiTestCase):
    def send(self, *rows: object, **options: object):
        body = b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)
        return self.post(PATH, self.alice, body, **{"content_type": NDJSON} | options)


class AccessTests(EndpointTests, ApiTestCase, TestCase):
    ENDPOINTS = (("GET", PATH, "lead reviewer", None), ("POST", PATH, "lead", [TWO]))


class ImportTests(PromptsTestCase):
    def test_lines_come_in_and_the_same_lines_again_change_nothing(self) -> None:
        first = self.send(TWO, {"prompt": "How?"})
        assert first.status_code == 200
        counts = {"prompts": 2, "responses": 2, "items": 1, "unchanged": 0}
        assert first.json() == counts | {"errors": []}
        again = self.send(TWO, {"prompt": "How?"}).json()
        assert again == {"prompts": 0, "responses": 0, "items": 0, "unchanged": 2, "errors": []}
        assert (Prompt.objects.count(), Response.objects.count(), Item.objects.count()) == (2, 2, 1)

    def test_a_json_list_is_taken_too(self) -> None:
        assert self.post(PATH, self.alice, [TWO]).json()["items"] == 1

    def test_every_name_of_json_lines_is_known(self) -> None:
        for number, name in enumerate(
            ("application/x-ndjson; charset=utf-8", "application/jsonl", "application/jsonlines")
        ):
            assert (
                self.send(TWO | {"id": f"q{number}", "prompt": f"{number}"}, content_type=name).status_code
                == 200
            )

    def test_errors_name_their_line_and_nothing_comes_in(self) -> None:
        answer = self.send(TWO, b"{\n", {"prompt": "How?", "responses": ["a", " "]}, {"prompt": "a\0b"})
        assert answer.status_code == 400
        assert answer.json()["prompts"] == answer.json()["items"] == 0
        errors = {error["line"]: error["message"] for error in answer.json()["errors"]}
        assert sorted(errors) == [2, 3, 4]
        assert errors[3] == "responses[2]: empty"
        assert errors[4] == "prompt: holds a null byte"
        assert not Prompt.objects.exists()

    def test_what_came_in_is_noted_and_what_changed_nothing_is_not(self) -> None:
        for _ in range(2):
            self.send(TWO)
        self.send({"prompt": ""})
        entry = AuditEntry.objects.get(verb="import.done")
        assert (entry.actor, entry.project, entry.data) == (
            self.alice,
            self.project,
            {"prompts": 1, "responses": 2, "items": 1, "judgments": 0},
        )

    def test_in_a_list_the_line_is_the_element(self) -> None:
        answer = self.post(PATH, self.alice, [TWO, TWO | {"id": "q2", "responses": ["one"]}, "text"])
        assert [error["line"] for error in answer.json()["errors"]] == [2, 3]

    def test_bad_rows_are_refused_with_a_sentence(self) -> None:
        answers = "123456789"
        for row, sentence in (
            (TWO | {"responses": ["a"]}, "1 given, an item has 2 to 9"),
            (TWO | {"responses": [*answers, "0"]}, "10 given, an item has 2 to 9"),
            (TWO | {"responses": ["a", ""]}, "responses[2]: empty"),
            (TWO | {"responses": ["a", "x" * 100_001]}, "at most 100,000"),
            (TWO | {"prompt": "\ud800"}, "half of a character"),
            ({"id": "q1"}, "prompt: missing"),
            ({"question": "Why?"}, "unknown field 'question'"),
            ([[]], "not a JSON object"),
        ):
            answer = self.send(row)
            assert answer.status_code == 400
            assert sentence in answer.json()["errors"][0]["message"]

    def test_long_answers_markup_and_right_to_left_text_come_back_as_they_were(self) -> None:
        texts = ["x" * 100_000, "\u202bمرحبا\u202c <script>alert(1)</script>\r\n\u2028"]
        assert self.send(TWO | {"responses": texts}).status_code == 200
        (prompt,) = self.get(PATH, self.alice).json()["results"]
        assert sorted(answer["text"] for answer in prompt["responses"]) == sorted(texts)

    def test_an_empty_body_is_an_error(self) -> None:
        assert self.send(b"\n").json()["errors"] == [{"line": 1, "message": "the file is empty"}]
        assert self.post(PATH, self.alice, []).json()["errors"] == [
            {"line": 1, "message": "the file is empty"}
        ]

    def test_what_is_neither_is_refused(self) -> None:
        self.refused(self.post(PATH, self.alice, {"prompt": "a"}), 400, "detail", "not a JSON list")
        self.refused(self.post(PATH, self.alice, b"{"), 400, "detail", "JSON parse error")
        for content_type in (
            "text/csv",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ):
            answer = self.send(TWO, content_type=content_type)
            self.refused(answer, 415, "detail", "application/x-ndjson")

    @override_settings(MAX_IMPORT_BYTES=1000)
    def test_a_body_that_is_too_large_is_refused_and_nothing_comes_in(self) -> None:
        rows = [{"prompt": f"{n} " + "x" * 50} for n in range(30)]
        self.refused(self.send(*rows), 413, "detail", "nothing of this one was imported")
        assert not Prompt.objects.exists()

    @override_settings(MAX_IMPORT_BYTES=1000)
    def test_it_counts_the_bytes_whatever_the_header_says(self) -> None:
        """A body that comes in chunks has no length in its header."""
        rows = b"".join(json.dumps({"prompt": f"{n} " + "x" * 50}).encode() + b"\n" for n in range(30))
        request = RequestFactory().generic("POST", "/", rows, content_type=NDJSON)
        request.META["CONTENT_LENGTH"] = ""
        with pytest.raises(TooLarge):
            list(_read_limited(request))

    @override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000)
    def test_a_list_that_is_too_large_is_pointed_to_lines(self) -> None:
        answer = self.post(PATH, self.alice, [{"prompt": "x" * 2000}])
        self.refused(answer, 413, "detail", "application/x-ndjson")
        assert self.send(*[{"prompt": f"{n} " + "x" * 50} for n in range(30)]).status_code == 200


class ListTests(PromptsTestCase):
    def test_it_goes_page_by_page(self) -> None:
        self.send(*[{"id": f"q{n}", "prompt": f"{n}?"} for n in range(250)])
        ids = [prompt["id"] for page in self.pages(PATH, self.dana) for prompt in page]
        assert ids == [f"q{n}" for n in range(250)]

    def test_a_line_has_the_prompt_as_it_was_sent(self) -> None:
        self.send(TWO | {"tags": ["causes"]})
        (prompt,) = self.get(PATH, self.dana).json()["results"]
        assert prompt["id"] == "q1"
        assert prompt["prompt"] == [{"role": "user", "content": "Why?"}]
        assert [(a["author"], a["text"]) for a in prompt["responses"]] == [
            ("imported", "Because."),
            ("imported", "Why not?"),
        ]
        assert prompt["tags"] == ["causes"]
        assert prompt["split"] in ("train", "held_out")

    def test_it_is_filtered_as_the_items_are(self) -> None:
        self.send(
            TWO | {"tags": ["causes", "x"]},
            TWO | {"id": "q2", "prompt": "Why Not 100%?", "tags": ["causes"]},
            TWO | {"id": "q3", "prompt": "How?"},
        )
        Prompt.objects.update(split="train")
        Prompt.objects.filter(external_id="q3").update(split="held_out")
        items = "projects/helpfulness/items/"

        def filtered_ids(query: str) -> list[str]:
            ids = [prompt["id"] for prompt in self.get(f"{PATH}?{query}", self.dana).json()["results"]]
            listed = self.get(f"{items}?{query}", self.dana).json()["results"]
            assert [item["prompt_id"] for item in listed] == ids
            return ids

        assert filtered_ids("") == ["q1", "q2", "q3"]
        assert filtered_ids("split=held_out") == ["q3"]
        assert filtered_ids("tag=causes") == ["q1", "q2"]
        assert filtered_ids("tag=cause") == []
        assert filtered_ids("text=why%20not") == ["q2"]
        assert filtered_ids("text=100%25") == ["q2"]
        assert filtered_ids("tag=causes&text=why&split=train") == ["q1", "q2"]
        Prompt.objects.filter(external_id="q2").update(metadata={"source": "a=b", "seen": True})
        assert filtered_ids("metadata=source%3Da%3Db") == filtered_ids("metadata=seen%3Dtrue") == ["q2"]
        assert filtered_ids("metadata=source%3Da") == []
        assert filtered_ids("text=user") == [], "a role is not said"
        Prompt.objects.filter(external_id="q3").update(
            messages=[{"role": "user", "content": 'Say "hi"\nÉTÉ \\ 100_%'}]
        )
        for text in ('say "hi"', 'hi"\n', "été \\", "100_%"):
            assert filtered_ids(f"text={quote(text)}") == ["q3"], text
        for query, field, words in (
            ("split=test", "split", "none of: train, held_out"),
            ("tag=%00", "tag", "null byte"),
            ("metadata=x", "metadata", "name=value"),
            ("text=%00", "text", "null byte"),
        ):
            for path in (PATH, items):
                self.refused(self.get(f"{path}?{query}", self.dana), 400, field, words)

    def test_a_damaged_cursor_is_refused(self) -> None:
        for position in ("p=x", "p=%00", "p=-1", "p=" + "9" * 30, "o=x&p=1"):
            cursor = base64.b64encode(position.encode()).decode()
            assert self.get(f"{PATH}?cursor={cursor}", self.dana).status_code in (400, 404), position
        assert self.get(f"{PATH}?cursor=nonsense", self.dana).status_code == 404

    def test_the_number_of_queries_does_not_grow(self) -> None:
        builders.items(self.project, 20)
        self.sign_in(self.dana)
        with self.assertNumQueries(5):  # user, membership, prompts, responses, authors
            self.client.get(f"/api/v1/{PATH}")
