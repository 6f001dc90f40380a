from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from unittest.mock import patch

import pytest
from django.utils.translation import get_language, override

from annotation.actions import import_rows
from annotation.actions.import_rows import ImportReport, SampledResponse
from annotation.exports import stream
from annotation.exports.selection import Selection
from annotation.logic.splits import split_of
from annotation.models import Author, Candidate, Item, Prompt, Response, Slot
from tests import builders
from tests.base import PalateTestCase

TWO = {"id": "q1", "prompt": "Why?", "responses": ["Because.", "Why not?"]}


class ImportTestCase(PalateTestCase):
    def send(self, *rows: Mapping[str, object] | bytes) -> ImportReport:
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows]
        return import_rows.import_lines(project=self.project, lines=lines)

    def nothing_came_in(self) -> bool:
        return not any(model.objects.exists() for model in (Prompt, Response, Item, Candidate, Slot, Author))

    def rows(self) -> list[int]:
        return [model.objects.count() for model in (Prompt, Response, Item, Candidate, Slot, Author)]


class ImportTests(ImportTestCase):
    def test_it_takes_prompts_responses_and_puts_them_into_the_queue(self) -> None:
        self.project.overlap = 2
        self.project.save()
        report = self.send(TWO | {"tags": ["causes"]}, {"prompt": "How?"}, b"\n")
        assert report == ImportReport(rows=2, kept=2, prompts=2, responses=2, items=1)
        prompt = Prompt.objects.get(external_id="q1")
        assert prompt.messages == [{"role": "user", "content": "Why?"}]
        assert prompt.tags == ["causes"]
        assert prompt.split == split_of(prompt.messages)
        assert sorted(prompt.responses.values_list("text", flat=True)) == ["Because.", "Why not?"]
        assert Slot.objects.filter(item__prompt=prompt, state="open").count() == 2

    def test_the_same_file_again_changes_nothing(self) -> None:
        rows = (TWO, {"prompt": "How?"}, {"prompt": "When?", "responses": ["Now.", "Later.", "Never."]})
        self.send(*rows)
        before = self.rows()
        assert self.send(*rows) == ImportReport(rows=3, kept=3, unchanged=3)
        assert self.rows() == before

    def test_responses_join_a_prompt_that_is_known(self) -> None:
        self.send({"id": "q1", "prompt": "Why?"})
        assert self.send(TWO) == ImportReport(rows=1, kept=1, responses=2, items=1)
        assert self.send(TWO | {"responses": ["Because.", "Ask her."]}) == ImportReport(
            rows=1, kept=1, responses=1, items=1
        )
        assert Item.objects.count() == 2
        assert Response.objects.count() == 3

    def test_the_same_answers_in_another_order_are_the_same_item(self) -> None:
        self.send(TWO)
        assert self.send(TWO | {"responses": TWO["responses"][::-1]}) == ImportReport(
            rows=1, kept=1, unchanged=1
        )

    def test_several_authors_may_say_the_same(self) -> None:
        said = [{"text": "4", "author": "A"}, {"text": "4", "author": "B"}, {"text": "5", "author": "B"}]
        self.send({"id": "q1", "prompt": "2 + 2?", "responses": said})
        (item,) = Item.objects.all()
        authors = item.responses.order_by("text").values_list("text", "author__name")
        assert list(authors) == [("4", "A"), ("5", "B")], "the first who says it stands in the item"

    def test_the_same_file_again_changes_nothing_when_others_say_the_same_since(self) -> None:
        def two(
            prompt: str, first_author: str, first: str, second_author: str, second: str
        ) -> dict[str, object]:
            responses = [{"text": first, "author": first_author}, {"text": second, "author": second_author}]
            return {"id": prompt, "prompt": f"{prompt}?", "responses": responses}

        file = [two("q1", "A", "Yes", "A", "No"), two("q2", "A", "x", "B", "y")]
        self.send(*file)
        self.send(two("q1", "B", "Yes", "B", "Maybe"))
        before = self.rows()
        assert self.send(*file) == ImportReport(rows=2, kept=2, unchanged=2)
        assert self.rows() == before

    def test_it_names_who_wrote_what(self) -> None:
        self.send(TWO | {"responses": ["Because.", {"text": "Why not?", "author": "gpt"}]})
        assert dict(Response.objects.values_list("text", "author__name")) == {
            "Because.": "imported",
            "Why not?": "gpt",
        }

    def test_a_byte_order_mark_is_no_error(self) -> None:
        assert self.send(b"\xef\xbb\xbf" + json.dumps(TWO).encode()).prompts == 1

    def test_html_and_right_to_left_text_are_kept_as_sent_and_shown_safely(self) -> None:
        text = "\u202bمرحبا\u202c <script>alert(1)</script>"
        self.send(TWO | {"responses": [text, "b"]})
        response = Response.objects.get(text=text)
        assert "<script" not in response.html
        assert "مرحبا" in response.html

    def test_answers_may_be_long(self) -> None:
        self.send(TWO | {"responses": ["x" * 100_000, "y" * 100_000]})
        assert {len(text) for text in Response.objects.values_list("text", flat=True)} == {100_000}

    def test_projects_do_not_see_each_others_prompts(self) -> None:
        other = builders.project(self.alice, "Other")
        import_rows.import_lines(project=other, lines=builders.lines(TWO))
        assert self.send(TWO | {"prompt": "Something else?"}).prompts == 1

    def test_the_number_of_queries_does_not_grow_with_the_file(self) -> None:
        rows = [{"prompt": f"Question {n}?", "responses": ["a", "b"]} for n in range(300)]
        # two savepoints, lock, constraints; known prompts; prompts (ids, copy); the author's (found?, savepoint, made, release);
        # responses (ids, copy); savepoint, items (ids, copy), candidates and slots (copy each), release; two releases
        with self.assertNumQueries(21):
            self.send(*rows)

    def test_a_long_file_comes_in_by_batches_and_still_whole_or_not_at_all(self) -> None:
        rows = [{"id": f"q{n}", "prompt": f"{n}?", "responses": ["a", "b"]} for n in range(30)]
        with patch("annotation.actions.import_rows.BATCH_BYTES", 300):
            report = self.send(*rows, rows[0])
            assert report.errors == [(31, "id: 'q0' is the id of line 1 already")]
            assert self.nothing_came_in()
            assert self.send(*rows) == ImportReport(rows=30, kept=30, prompts=30, responses=60, items=30)
            assert self.send(*rows) == ImportReport(rows=30, kept=30, unchanged=30)


class MetadataTests(ImportTestCase):
    def test_what_users_keep_with_prompts_and_responses_comes_back_from_the_export(self) -> None:
        metadata = {"source": "web", "nested": {"depth": [1, 2.5, None]}}
        responses = [{"text": "a", "metadata": {"seed": 7}}, "b"]
        self.send({"id": "q", "prompt": "Why?", "responses": responses, "metadata": metadata})
        assert Prompt.objects.get().metadata == metadata
        assert dict(Response.objects.values_list("text", "metadata")) == {"a": {"seed": 7}, "b": {}}
        builders.judgment(self.project, self.alice)
        raw, pair = (
            json.loads(b"".join(stream.export_project(self.project, Selection.from_parameters(parameters))))
            for parameters in ({"format": "raw"}, {"format": "trl", "origin": "true"})
        )
        assert json.loads(raw["metadata"]) == json.loads(pair["origin"]["metadata"]) == metadata
        assert [json.loads(response["metadata"]) for response in raw["responses"]] == [{"seed": 7}, {}]

    def test_what_cannot_be_kept_is_refused_by_name(self) -> None:
        long = {"a": "x" * 100_001}
        for given, words in ((1, "not an object"), ({"a": "\0"}, "null byte"), (long, "at most 100,000")):
            [(_, sentence)] = self.send({"prompt": "Why?", "metadata": given}).errors
            assert sentence.startswith("metadata: "), sentence
            assert words in sentence


class RefusalTests(ImportTestCase):
    def test_one_bad_line_and_nothing_comes_in(self) -> None:
        report = self.send(TWO, {"prompt": "How?", "responses": ["one"]}, b"\xff\n", b"{\n")
        assert [line for line, _ in report.errors] == [2, 3, 4]
        assert report.errors[0][1] == "responses: 1 given, an item has 2 to 9"
        assert report.errors[1][1] == "not UTF-8 text"
        assert (report.prompts, report.responses, report.items) == (0, 0, 0)
        assert self.nothing_came_in()

    def test_an_id_may_stand_in_one_line_only(self) -> None:
        assert self.send(TWO, TWO | {"prompt": "How?"}).errors == [
            (2, "id: 'q1' is the id of line 1 already")
        ]
        assert self.nothing_came_in()

    def test_an_id_keeps_its_prompt(self) -> None:
        self.send(TWO)
        before = self.rows()
        report = self.send({"id": "q0", "prompt": "New?"}, TWO | {"prompt": "Another?"})
        assert report.errors == [(2, "id: 'q1' exists already, with another prompt")]
        assert report.prompts == 0
        assert self.rows() == before

    def test_errors_come_in_the_order_of_the_lines_although_the_next_lines_are_read_ahead(self) -> None:
        self.send(TWO)
        with patch.object(import_rows, "BATCH_ROWS", 1):
            report = self.send(TWO | {"prompt": "Another?"}, b"{\n")
        assert [number for number, _sentence in report.errors] == [1, 2]

    def test_lines_are_read_in_the_language_of_who_imports_them(self) -> None:
        languages: list[str | None] = []

        def lines() -> Iterator[bytes]:
            languages.append(get_language())
            yield json.dumps(TWO).encode()

        with override("de"):
            import_rows.import_lines(project=self.project, lines=lines())
        assert languages == ["de"]

    def test_an_empty_file_is_an_error(self) -> None:
        assert self.send().errors == self.send(b"\n", b" \n").errors == [(1, "the file is empty")]

    def test_it_stops_counting_errors_at_a_hundred(self) -> None:
        assert len(self.send(*[b"{"] * 1000).errors) == 100

    def test_nothing_comes_in_when_the_sender_goes_away(self) -> None:
        def lines() -> Iterator[bytes]:
            yield from builders.lines(TWO)
            raise ConnectionResetError("the sender went away")

        with pytest.raises(ConnectionResetError):
            import_rows.import_lines(project=self.project, lines=lines())
        assert self.nothing_came_in()


class AddResponsesTests(ImportTestCase):
    def test_the_same_text_of_the_same_author_is_kept_once(self) -> None:
        self.send({"id": "q1", "prompt": "Why?"})
        prompt = Prompt.objects.get()
        author = Author.objects.create(project=self.project, kind="policy", name="p1")
        samples = [SampledResponse(prompt.pk, text, {"seed": 1}) for text in ("a", "b", "a")]
        responses, new = import_rows.add_responses(author=author, samples=samples)
        assert ([response.text for response in responses], new) == (["a", "b"], 2)
        responses, new = import_rows.add_responses(
            author=author, samples=[*samples, SampledResponse(prompt.pk, "c")]
        )
        assert ([response.text for response in responses], new) == (["a", "b", "c"], 1)
        other = Author.objects.create(project=self.project, kind="policy", name="p2")
        assert import_rows.add_responses(author=other, samples=samples)[1] == 2
        assert Response.objects.filter(sampling={"seed": 1}).count() == 4
