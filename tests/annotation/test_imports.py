"""The Import page: upload, look, start, follow, stop."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import override_settings
from django.urls import reverse
from pyarrow import parquet

from annotation.actions import imports, uploads
from annotation.actions.uploads import UploadError
from annotation.models import Import, Prompt
from annotation.store import MissingObject
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint

TWO = {"id": "q1", "prompt": "Why?", "responses": ["Because.", "Ask her."]}


@pytest.mark.usefixtures("own_artifacts")
class ImportPageTestCase(AccessTestCase):
    @pytest.fixture
    def own_artifacts(self, tmp_path: Path) -> Any:
        self.folder = tmp_path
        with override_settings(ARTIFACTS=tmp_path):
            yield

    def url(self, name: str = "import", *args: int) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def send(self, content: bytes, name: str = "prompts.jsonl", **headers: str) -> HttpResponse:
        self.sign_in(self.alice)
        return self.client.post(self.url(), {"file": SimpleUploadedFile(name, content)}, headers=headers)

    def uploaded(self, *rows: Mapping[str, object]) -> Import:
        content = b"\n".join(builders.lines(*(rows or [TWO])))
        return uploads.save_upload(
            project=self.project, name="prompts.jsonl", file=BytesIO(content), creator=self.alice
        )

    def look(self, upload: Import) -> HttpResponse:
        self.sign_in(self.alice)
        return self.client.get(self.url("import-preview", upload.pk))


class AccessTests(ImportPageTestCase):
    def test_it_is_for_leads(self) -> None:
        pk = self.uploaded().pk
        self.check(Endpoint("import", get=200, post=422))
        self.check(Endpoint("import-list", get=200))
        self.check(Endpoint("import-preview", (pk,), get=200))
        self.check(Endpoint("import-start", (pk,), post=302))
        self.check(Endpoint("import-map", (pk,), post=422))
        self.check(Endpoint("import-cancel", (pk,), post=302))

    def test_files_of_other_projects_are_out_of_reach(self) -> None:
        other = builders.project(self.alice, "Other")
        upload = uploads.save_upload(project=other, name="a.txt", file=BytesIO(b"Why?"), creator=self.alice)
        self.sign_in(self.alice)
        assert self.client.get(self.url("import-preview", upload.pk)).status_code == 404
        for name in ("import-start", "import-map", "import-cancel"):
            assert self.client.post(self.url(name, upload.pk)).status_code == 404
        upload.refresh_from_db()
        assert upload.state == "uploaded"


class UploadTests(ImportPageTestCase):
    def test_a_file_is_kept_and_shown_before_anything_is_imported(self) -> None:
        response = self.send(b"\n".join(builders.lines(TWO, {"prompt": "*How*?"})))
        upload = Import.objects.get()
        self.assertRedirects(response, self.url("import-preview", upload.pk))
        assert (upload.state, upload.shape, upload.created_by) == ("uploaded", "palate", self.alice)
        assert upload.bytes == uploads.upload_path(upload).stat().st_size
        page = self.client.get(self.url("import-preview", upload.pk))
        self.assertContains(page, "Format: Palate")
        self.assertContains(page, "2 lines.")
        self.assertContains(page, "Because.")
        self.assertContains(page, "<em>How</em>")
        assert not Prompt.objects.exists()

    def test_with_htmx_the_browser_is_sent_on(self) -> None:
        response = self.send(b'{"prompt": "a"}', **{"HX-Request": "true"})
        assert response["HX-Redirect"] == self.url("import-preview", Import.objects.get().pk)

    def test_what_would_be_left_out_is_said(self) -> None:
        self.send(b'{"prompt": "Why?", "chosen": "a", "rejected": "b", "ranks": 1}\n', "a.jsonl")
        row = {"question": {"full_text": "Why?"}, "answer_0": "a", "answer_1": "b", "score_0": 1}
        self.send(json.dumps(row).encode(), "b.jsonl")
        page = self.client.get(self.url("import-preview", Import.objects.latest("pk").pk))
        self.assertContains(page, "1 \u00d7 rows without a preference")

    def test_the_roles_of_columns_are_guessed(self) -> None:
        self.send(b"Question,a,b,winner,notes\nWhy?,x,y,a,z\n", "a.csv")
        page = self.client.get(self.url("import-preview", Import.objects.get().pk))
        assert [role for _, _, role in page.context["columns"]] == [
            "prompt",
            "answer",
            "answer",
            "preference",
            "",
        ]

    def test_pasted_blocks_have_answers(self) -> None:
        self.sign_in(self.alice)
        self.client.post(
            self.url("import"), {"text": "Why?\r\nHow?\r\n---\r\nSo.\r\n---\r\nSo not.\r\n===\r\nWho?"}
        )
        upload = Import.objects.get()
        page = self.client.get(self.url("import-preview", upload.pk))
        self.assertContains(page, "2 lines.")
        self.assertContains(page, "So not.")

    def test_a_pasted_list_has_a_prompt_a_line(self) -> None:
        self.sign_in(self.alice)
        page = self.client.post(self.url(), {"text": "Why is it?\nHow is it?\n"}, follow=True)
        self.assertContains(page, "Format: Palate")
        self.assertContains(page, "Why is it?")
        assert Import.objects.get().name == "Pasted list.txt"

    def test_csv_and_parquet_are_told_apart_by_what_is_in_them(self) -> None:
        self.send(b"prompt,response_1,response_2\nWhy?,So.,Hm.\n", "a.csv")
        table = pa.Table.from_pylist(
            [{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}]
        )
        parquet.write_table(table, self.folder / "hh.parquet")
        response = self.send((self.folder / "hh.parquet").read_bytes(), "train-00000")
        assert list(Import.objects.values_list("shape", flat=True)) == ["hh-rlhf", "table"]
        self.assertContains(self.client.get(response.url), "Format: HH-RLHF")
        self.assertContains(self.client.get(response.url), "1 row.")

    def test_a_packed_file_is_kept_unpacked(self) -> None:
        lines = b"\n".join(builders.lines(TWO, {"prompt": "How?"}))
        for content, name in (
            (lines, "a.jsonl.gz"),
            (b"prompt,response_1,response_2\nWhy?,So.,Hm.\nHow?,a,b\n", "a.csv.gz"),
            (json.dumps([TWO, {"prompt": "How?"}]).encode(), "A.JSON.GZ"),
        ):
            half = len(content) // 2  # two members, and what some writers fill up with
            response = self.send(
                gzip.compress(content[:half]) + gzip.compress(content[half:]) + b"\0" * 99, name
            )
            upload = Import.objects.latest("id")
            self.assertRedirects(response, self.url("import-preview", upload.pk))
            assert uploads.upload_path(upload).read_bytes() == content
            assert (upload.bytes, upload.name) == (len(content), name)
            self.assertContains(self.look(upload), "Why?")

    @override_settings(MAX_UPLOAD_BYTES=2**21)
    def test_a_file_that_unpacks_to_too_much_is_refused_before_it_fills_anything(self) -> None:
        bomb = gzip.compress(b" " * 2**27)
        assert len(bomb) < 2**18
        largest = []
        write = uploads._write

        def measured(target: Path, chunks: Any) -> int:
            try:
                return write(target, chunks)
            finally:
                largest.append(target.stat().st_size)

        tracemalloc.start()
        try:
            with patch.object(uploads, "_write", measured):
                response = self.send(bomb, "a.jsonl.gz")
            assert tracemalloc.get_traced_memory()[1] < 2**24
        finally:
            tracemalloc.stop()
        self.assertContains(response, "content is larger than 2.0\xa0MB", status_code=422)
        assert largest[0] <= 2**21
        assert not Import.objects.exists()
        assert not [path for path in self.folder.rglob("*") if path.is_file()]

    def test_what_is_wrong_in_a_list_is_named_by_its_place(self) -> None:
        rows = [TWO, {"prompt": ""}, 7, TWO | {"id": "q2", "responses": ["a"]}]
        self.send(json.dumps(rows, indent=2).encode(), "a.json")
        page = self.look(Import.objects.get())
        self.assertContains(page, "4 elements.")
        self.assertContains(page, "3 of the first 4 elements are invalid")
        for place, words in ((2, "prompt: empty"), (3, "not a JSON object"), (4, "responses: 1 given")):
            self.assertContains(page, f'<td class="number">{place}</td><td>{words}')

    def test_a_list_that_was_cut_off_far_behind_is_told_before_it_is_started(self) -> None:
        rows = json.dumps([{"prompt": f"{n}?"} for n in range(1200)])
        self.send(rows[:-1].encode(), "a.json")
        page = self.look(Import.objects.get())
        self.assertContains(page, "the file was cut off after element 1,200")
        self.assertContains(page, "1 of the first 1,000 elements is invalid")
        self.assertNotContains(page, "Start the import")

    def test_what_is_wrong_in_the_first_rows_is_said_and_may_be_set_aside(self) -> None:
        upload = self.uploaded(TWO, {"prompt": ""}, TWO | {"id": "q2", "responses": ["a"]})
        page = self.look(upload)
        self.assertContains(page, "2 of the first 3 lines are invalid")
        self.assertContains(page, "prompt: empty")
        self.assertContains(page, "responses: 1 given")
        self.assertContains(page, 'name="set_aside_share" value="1.0" required')
        self.client.post(self.url("import-start", upload.pk), {"set_aside_share": "1.0"})
        upload.refresh_from_db()
        assert (upload.state, upload.set_aside_share) == ("queued", 1.0)

    def test_if_no_row_is_valid_it_cannot_be_started(self) -> None:
        self.assertNotContains(self.look(self.uploaded({"prompt": ""})), "Start the import")

    def test_a_column_that_the_format_does_not_have_is_asked_about(self) -> None:
        row = {"prompt": "Why?", "chosen": "a", "rejected": "b", "topic": "air", "margin": 1.0}
        upload = self.uploaded(row)
        page = self.look(upload)
        self.assertContains(page, "The format has no column <code>topic</code>.")
        self.assertContains(page, "<dt>Preferences</dt><dd><code>margin</code></dd>")
        for wrong in ({"other_columns": "drop"}, {"set_aside_share": "2"}):
            assert self.client.post(self.url("import-start", upload.pk), wrong).status_code == 400
        self.client.post(self.url("import-start", upload.pk), {"other_columns": "metadata"})
        upload.refresh_from_db()
        assert (upload.state, upload.other_columns) == ("queued", "metadata")

    def test_metadata_is_shown(self) -> None:
        row = TWO | {
            "metadata": {"source": "web", "length": 3},
            "responses": [{"text": "a", "metadata": {"seed": 7}}, "b"],
        }
        page = self.look(self.uploaded(row))
        for name, value in (("source", "web"), ("length", "3"), ("seed", "7")):
            self.assertContains(page, f'<dt dir="auto">{name}</dt><dd dir="auto">{value}</dd>')

    def test_no_more_than_a_hundred_wrong_rows_are_shown(self) -> None:
        self.assertContains(self.look(self.uploaded(TWO, *[{"prompt": ""}] * 130)), "And 30 more.")

    def test_text_of_the_file_is_not_markup(self) -> None:
        page = self.look(self.uploaded({"prompt": "<script>alert(1)</script>", "tags": ["<b>x"]}))
        self.assertNotContains(page, "<script>alert")
        self.assertNotContains(page, "<b>x")

    def test_a_bad_upload_is_explained_and_nothing_of_it_stays(self) -> None:
        lines = b"\n".join(builders.lines(TWO))
        for content, name, sentence in (
            (b"", "a.jsonl", "The file is empty."),
            (b"\n \n", "a.jsonl", "It has no rows."),
            (b"nonsense", "a.jsonl", "Line 1: not JSON"),
            (b"PAR1nonsense", "a.parquet", "damaged Parquet file"),
            (b"\x1f\x8b\x00", "a.jsonl.gz", "without its end"),
            (gzip.compress(lines)[:-9], "a.jsonl.gz", "without its end"),
            (gzip.compress(lines)[:-8] + b"\0" * 8, "a.jsonl.gz", "damaged gzip file"),
            (gzip.compress(gzip.compress(lines)), "a.jsonl.gz", "compressed twice"),
            (b"PK\x03\x04", "a.zip", "zip archive"),
            (b"[1, 2]", "a.json", "Element 1: not a JSON object"),
            (b'[{"prompt": "a"', "a.json", "Element 1 cannot be read"),
        ):
            response = self.send(content, name)
            self.assertContains(response, sentence, status_code=422)
        self.assertContains(self.client.post(self.url()), "Choose a file first", status_code=422)
        response = self.client.post(self.url(), {"text": "a\0b"})
        self.assertContains(response, "Null characters are not allowed.", status_code=422)
        assert not Import.objects.exists()
        assert not [path for path in self.folder.rglob("*") if path.is_file()]

    @override_settings(MAX_UPLOAD_BYTES=10)
    def test_a_file_that_is_too_large_is_refused_with_both_sizes(self) -> None:
        response = self.send(b'{"prompt": "Long enough?"}\n')
        self.assertContains(response, "the limit is 10\xa0bytes", status_code=422)
        with pytest.raises(imports.UploadError, match="larger than 10"):
            self.uploaded()
        assert not [path for path in self.folder.rglob("*") if path.is_file()]

    def test_a_full_disk_is_said(self) -> None:
        (self.folder / "store").write_text("a file where the folder should be")
        self.assertContains(self.send(b'{"prompt": "a"}'), "could not be saved", status_code=422)
        assert not Import.objects.exists()


class StartAndStopTests(ImportPageTestCase):
    def test_starting_queues_it_once(self) -> None:
        upload = self.uploaded()
        self.sign_in(self.alice)
        self.client.post(self.url("import-start", upload.pk))
        upload.refresh_from_db()
        assert upload.state == "queued"
        page = self.client.post(self.url("import-start", upload.pk), follow=True)
        self.assertContains(page, "was started or discarded already")
        self.assertContains(page, "Waiting for a worker")
        self.assertContains(page, "every 1s")

    def test_discarding_removes_the_file(self) -> None:
        upload = self.uploaded()
        self.sign_in(self.alice)
        self.assertRedirects(self.client.post(self.url("import-cancel", upload.pk)), self.url())
        upload.refresh_from_db()
        assert upload.state == "cancelled"
        with pytest.raises(MissingObject):
            uploads.upload_path(upload)
        page = self.client.post(self.url("import-cancel", upload.pk), follow=True)
        self.assertContains(page, "has ended already")
        page = self.client.post(self.url("import-start", upload.pk), follow=True)
        self.assertContains(page, "Cancelled: nothing was imported")

    def test_one_that_is_read_is_asked_to_stop(self) -> None:
        upload = self.uploaded()
        imports.start(upload)
        assert imports.claim(upload.pk) is not None
        self.sign_in(self.alice)
        self.client.post(self.url("import-cancel", upload.pk))
        upload.refresh_from_db()
        assert (upload.state, upload.cancel_requested) == ("running", True)
        self.assertContains(self.client.get(self.url()), "is being stopped")

    def test_a_file_that_has_gone_is_said(self) -> None:
        upload = self.uploaded()
        uploads.upload_path(upload).unlink()
        self.sign_in(self.alice)
        page = self.client.get(self.url("import-preview", upload.pk), follow=True)
        self.assertContains(page, "is not on the server any more")


class ListTests(ImportPageTestCase):
    def state(self, **fields: object) -> str:
        upload = self.uploaded()
        Import.objects.filter(pk=upload.pk).update(**fields)
        self.sign_in(self.alice)
        return self.client.get(self.url("import-list")).content.decode()

    def test_it_moves_only_while_something_does(self) -> None:
        assert "every 1s" not in self.state()
        html = self.state(state="running", bytes=2000, bytes_done=500)
        assert "every 1s" in html
        assert 'max="2000" value="500"' in html
        assert "25%" in html

    def test_it_says_what_came_of_each(self) -> None:
        report = {"prompts": 1200, "responses": 4800, "items": 1190, "unchanged": 3, "held_back": 7}
        html = self.state(state="done", report=report)
        assert "1,200 new prompts, 4,800 answers, 1,190 items; 3 unchanged; 7 near-identical" in html
        assert "prompt: empty and others" in self.state(
            state="refused", report={"errors": [[2, "prompt: empty"], [3, "x"]]}
        )
        assert "Its worker died" in self.state(state="failed", report={"reason": "Its worker died 3 times."})

    def test_a_report_names_every_line(self) -> None:
        upload = self.uploaded()
        errors = [[2, "prompt: empty"], [7, "not JSON <b>"]]
        Import.objects.update(state="refused", report={"errors": errors, "more_errors": 12})
        page = self.look(upload)
        self.assertContains(page, "not JSON &lt;b&gt;")
        self.assertContains(page, "And 12 more.")

    def test_a_report_says_what_was_set_aside(self) -> None:
        upload = self.uploaded()
        report = {"prompts": 1, "set_aside": {"the answers are the same": 4}}
        Import.objects.update(state="done", report=report)
        self.assertContains(self.look(upload), "the answers are the same")

    def test_the_number_of_queries_does_not_grow(self) -> None:
        for _ in range(5):
            self.uploaded()
        self.sign_in(self.alice)
        with self.assertNumQueries(5):  # user, membership, imports, counts, prompts without answers
            self.client.get(self.url("import-list"))


class MappingTests(ImportPageTestCase):
    ROW = {"q": "Why?", "a1": "So.", "a2": ["x"], "topic": "air", "n": 3}
    ROLES = {"q": "prompt", "a1": "answer", "topic": "tag"}

    def map(self, upload: Import, roles: Mapping[str, str]) -> HttpResponse:
        pairs = {"column": list(roles), "role": list(roles.values())}
        return self.client.post(self.url("import-map", upload.pk), pairs)

    def test_columns_of_a_file_of_unknown_format_are_asked_about_and_remembered(self) -> None:
        page = self.send(json.dumps(self.ROW).encode())
        upload = Import.objects.get()
        self.assertRedirects(page, self.url("import-preview", upload.pk))
        page = self.look(upload)
        self.assertContains(page, "The file is of no known format.")
        for text in ("So.", "[&quot;x&quot;]", 'aria-label="What topic is"'):
            self.assertContains(page, text)
        with pytest.raises(UploadError, match="map its columns first"):
            imports.start(upload)
        self.assertRedirects(self.map(upload, self.ROLES), self.url("import-preview", upload.pk))
        page = self.look(upload)
        self.assertContains(page, "Columns mapped by hand")
        self.assertContains(page, "The format has no column <code>a2</code>")
        self.client.post(self.url("import-start", upload.pk), {"other_columns": "leave out"})
        self.send(json.dumps(self.ROW).encode(), "next.jsonl")
        assert dict(Import.objects.first().mapping) == self.ROLES
        self.assertContains(self.look(Import.objects.first()), "Columns mapped by hand")

    def test_a_recognised_file_can_be_mapped_too(self) -> None:
        upload = self.uploaded(TWO)
        self.sign_in(self.alice)
        page = self.client.get(self.url("import-preview", upload.pk) + "?map")
        self.assertContains(page, "Map the columns by hand.")
        self.map(upload, {"prompt": "prompt", "id": "id"})
        upload.refresh_from_db()
        assert (upload.shape, dict(upload.mapping)) == ("mapped", {"prompt": "prompt", "id": "id"})

    def test_what_is_wrong_with_a_mapping_is_said_and_nothing_is_lost(self) -> None:
        self.send(json.dumps(self.ROW).encode())
        upload = Import.objects.get()
        for roles, words in (
            ({"a1": "answer"}, "No column is the prompt."),
            ({"q": "prompt", "a1": "prompt"}, "q and a1: only one column can be the prompt."),
            ({"q": "prompt", "a1": "x"}, "&#x27;x&#x27; is none of the roles"),
            ({"q": "prompt", "other": "answer"}, "There is no column other."),
        ):
            page = self.map(upload, roles)
            self.assertContains(page, words, status_code=422)
        self.assertContains(page, '<option value="prompt" selected>', status_code=422)
