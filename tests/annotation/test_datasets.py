from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import reverse

from annotation.actions import freeze
from annotation.models import Snapshot
from tests import builders
from tests.leading import AccessTestCase, Endpoint


class DataTests(AccessTestCase):
    def setUp(self) -> None:
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        settings = override_settings(ARTIFACTS=Path(folder))
        settings.enable()
        self.addCleanup(settings.disable)

    def url(self, name: str = "data", *args: object) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def judge(self, count: int) -> None:
        builders.items(self.project, count)
        for _ in range(count):
            builders.judgment(self.project, self.bob, [1, 2, 2, 3])

    def lines(self, response: HttpResponse) -> list[dict[str, object]]:
        assert isinstance(response, StreamingHttpResponse)
        return [json.loads(line) for line in b"".join(response).splitlines()]

    def test_leads_freeze_and_reviewers_read(self) -> None:
        self.judge(1)
        freeze.freeze(project=self.project, creator=self.alice)
        self.check(Endpoint("data", get=200, reviewer_get=200))
        self.check(Endpoint("data-download", (1, "trl"), get=200, reviewer_get=200))
        self.check(Endpoint("data-live", ("trl",), get=200, reviewer_get=200))
        self.check(Endpoint("freeze", post=302))

    def test_it_freezes_with_a_note(self) -> None:
        self.judge(2)
        self.sign_in(self.alice)
        self.assertContains(self.client.get(self.url()), "2 judgments to freeze")
        self.assertRedirects(self.client.post(self.url("freeze"), {"note": "first"}), self.url())
        snapshot = Snapshot.objects.get()
        assert (snapshot.number, snapshot.note, snapshot.counts["judgments"]) == (1, "first", 2)
        assert hashlib.sha256(freeze.file_of(snapshot).read_bytes()).hexdigest() == snapshot.sha256
        self.assertContains(self.client.get(self.url()), "0 judgments since snapshot 1")

    def test_nothing_to_freeze_is_said(self) -> None:
        self.sign_in(self.alice)
        response = self.client.post(self.url("freeze"))
        self.assertContains(response, "There are no judgments to freeze yet.", status_code=422)
        response = self.client.post(self.url("freeze"), {"note": "n" * 201})
        self.assertContains(response, "at most 200 characters", status_code=422)
        assert not Snapshot.objects.exists()

    def test_a_snapshot_downloads_in_every_format(self) -> None:
        self.judge(1)
        freeze.freeze(project=self.project, creator=self.alice)
        self.sign_in(self.dana)
        response = self.client.get(self.url("data-download", 1, "trl"))
        assert 'filename="helpfulness-snapshot-1-trl.jsonl"' in response["Content-Disposition"]
        pairs = self.lines(response)
        assert len(pairs) == 5  # 4 choose 2, less the tie
        assert pairs[0]["chosen"][0]["content"].startswith("Answer A")  # type: ignore[index]
        assert self.lines(self.client.get(self.url("data-download", 1, "rankings")))[0]["ranks"] == [
            1,
            2,
            2,
            3,
        ]
        assert len(self.lines(self.client.get(self.url("data-download", 1, "raw")))) == 1

    def test_the_live_download_grows_and_the_snapshot_does_not(self) -> None:
        self.judge(1)
        freeze.freeze(project=self.project, creator=self.alice)
        builders.join(self.project, self.charlie, "annotator")
        self.judge_more()
        self.sign_in(self.alice)
        assert len(self.lines(self.client.get(self.url("data-live", "raw")))) == 2
        assert len(self.lines(self.client.get(self.url("data-download", 1, "raw")))) == 1

    def judge_more(self) -> None:
        builders.items(self.project, 2)  # the first of them is known already
        builders.judgment(self.project, self.bob)

    def test_unknown_formats_and_snapshots_are_not_found(self) -> None:
        self.judge(1)
        snapshot = freeze.freeze(project=self.project, creator=self.alice)
        self.sign_in(self.alice)
        assert self.client.get(self.url("data-live", "csv")).status_code == 404
        assert self.client.get(self.url("data-download", 2, "trl")).status_code == 404
        freeze.file_of(snapshot).unlink()
        assert self.client.get(self.url("data-download", 1, "trl")).status_code == 404

    def test_exports_name_nobody(self) -> None:
        self.judge(1)
        self.sign_in(self.alice)
        assert b'"bob"' not in b"".join(self.client.get(self.url("data-live", "raw")))
