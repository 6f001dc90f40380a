"""Files through the API: kept when they are sent, read by a worker."""

from __future__ import annotations

import gzip
import json
import tempfile
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings

from annotation.actions import imports
from annotation.models import Import, Prompt
from tests.annotation.api.base import ApiTestCase

LINES = b'{"prompt": "One?", "responses": ["a", "b"]}\n{"prompt": "Two?"}\n'


class ImportTests(ApiTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.enterContext(override_settings(ARTIFACTS=folder.name))
        self.here = f"projects/{self.project.slug}/imports/"

    def send(self, name: str, content: bytes, **fields: str) -> Any:
        headers = {"Authorization": f"Bearer {self.key_of(self.alice, 'lead')}"}
        file = SimpleUploadedFile(name, content)
        return self.client.post(f"/api/v1/{self.here}", {"file": file} | fields, headers=headers)

    def read(self, pk: int) -> None:
        """As a worker does."""
        upload = imports.claim(pk)
        assert upload is not None
        imports.run_import(upload)

    def test_a_file_is_kept_read_and_reported_on(self) -> None:
        answer = self.send("prompts.jsonl.gz", gzip.compress(LINES))
        assert answer.status_code == 202, answer.content
        sent = answer.json()
        assert (sent["state"], sent["percent"], sent["bytes"]) == ("queued", 0, len(LINES))
        assert answer["Location"] == f"/api/v1/{self.here}{sent['id']}/"
        assert not Prompt.objects.filter(project=self.project).exists()
        self.read(sent["id"])
        done = self.get(f"{self.here}{sent['id']}/", self.alice).json()
        assert (done["state"], done["percent"]) == ("done", 100)
        assert {name: done["report"][name] for name in ("prompts", "items")} == {"prompts": 2, "items": 1}
        assert [page["id"] for page in self.get(self.here, self.alice).json()["results"]] == [sent["id"]]

    def test_columns_can_be_mapped_and_the_others_are_reported(self) -> None:
        row = json.dumps({"q": "Why?", "a": "So.", "b": "No.", "topic": "air"}).encode()
        self.refused(self.send("x.jsonl", row), 400, "file", "map the columns to their roles")
        for mapping, field, words in (
            ("[]", "mapping", "not an object"),
            ("{", "mapping", "valid JSON"),
            ('{"q": "x"}', "file", "none of the roles"),
            ('{"z": "prompt"}', "file", "no column z"),
        ):
            self.refused(self.send("x.jsonl", row, mapping=mapping), 400, field, words)
        mapping = json.dumps({"q": "prompt", "a": "answer", "b": "answer"})
        answer = self.send("x.jsonl", row, mapping=mapping, other_columns="metadata")
        assert answer.status_code == 202, answer.content
        self.read(answer.json()["id"])
        assert Prompt.objects.get(messages__0__content="Why?").metadata == {"topic": "air"}
        self.read(self.send("again.jsonl", row, other_columns="leave out").json()["id"])
        report = Import.objects.get(name="again.jsonl").report
        assert (report["unchanged"], report["columns"]["topic"]) == (1, "left out")

    def test_every_shape_of_the_page_comes_in(self) -> None:
        for name, content in (
            ("list.json", json.dumps([{"prompt": "A list?"}]).encode()),
            ("table.csv", b"prompt,response_a,response_b\nA table?,yes,no\n"),
        ):
            answer = self.send(name, content)
            assert answer.status_code == 202, answer.content
            self.read(answer.json()["id"])
        assert {prompt.messages[-1]["content"] for prompt in Prompt.objects.filter(project=self.project)} == {
            "A list?",
            "A table?",
        }

    def test_preferences_come_in_as_judgments_if_the_lead_says_so(self) -> None:
        pair = b'{"prompt": "Why?", "chosen": "a", "rejected": "b"}'
        sent = self.send("pairs.jsonl", pair, judgments="import", judged_by="machine").json()
        assert (sent["judgments"], sent["judged_by"]) == ("import", "machine")
        self.read(sent["id"])
        done = self.get(f"{self.here}{sent['id']}/", self.alice).json()
        assert (done["state"], done["report"]["judgments"]) == ("done", 1)
        [row] = self.lines(self.get(f"projects/{self.project.slug}/judgments/?format=raw", self.alice))
        assert (row["imported"], row["source"], row["account"]) == (True, "pairs.jsonl", "machine")

        table = b"prompt,response_1,response_2\nWhy?,a,b\n"
        refused = self.send("table.csv", table, judgments="import")
        assert (refused.status_code, list(refused.json()["errors"])) == (400, ["judgments"])
        assert Import.objects.latest("pk").state == "cancelled"

    def test_an_odd_mapping_is_refused(self) -> None:
        for mapping in ({"q": ["prompt"]}, {"q": "prompt", "a\0": "answer"}, {"q\ud800": "prompt"}, [1]):
            refused = self.send("a.csv", b"q,a\nWhy?,x\n", mapping=json.dumps(mapping))
            assert refused.status_code == 400, mapping

    def test_errors_are_told_by_line_and_nothing_is_taken(self) -> None:
        sent = self.send("prompts.jsonl", LINES + b'{"prompt": ""}\n').json()
        self.read(sent["id"])
        report = self.get(f"{self.here}{sent['id']}/", self.alice).json()
        assert (report["state"], report["report"]["errors"]) == ("refused", [[3, "prompt: empty"]])
        assert not Prompt.objects.filter(project=self.project).exists()

    def test_what_is_no_file_of_prompts_is_refused_at_once(self) -> None:
        self.refused(self.send("x.parquet", b"not parquet"), 400, "file", "not a Parquet file")
        self.refused(self.send("empty.jsonl", b""), 400, "file", "empty")
        answer = self.client.post(
            f"/api/v1/{self.here}", headers={"Authorization": f"Bearer {self.key_of(self.alice, 'lead')}"}
        )
        self.refused(answer, 400, "file", "No file")
        with override_settings(MAX_UPLOAD_BYTES=10):
            self.refused(self.send("long.jsonl", LINES), 413, "detail", "the limit is 10")
        assert not Import.objects.exists()

    def test_it_is_stopped_once(self) -> None:
        sent = self.send("prompts.jsonl", LINES).json()
        assert self.post(f"{self.here}{sent['id']}/cancel/", self.alice).json()["state"] == "cancelled"
        assert imports.claim(sent["id"]) is None
        self.refused(
            self.post(f"{self.here}{sent['id']}/cancel/", self.alice), 409, "detail", "has ended already"
        )

    def test_another_project_s_import_is_not_there(self) -> None:
        sent = self.send("prompts.jsonl", LINES).json()
        for place in (f"projects/other/imports/{sent['id']}/", f"{self.here}{sent['id'] + 1}/"):
            assert self.get(place, self.alice).status_code == 404
