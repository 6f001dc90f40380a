from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from django.http import StreamingHttpResponse
from django.test import override_settings
from django.urls import reverse

from annotation.actions import snapshots
from annotation.models import Snapshot
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint
from tests.annotation.exports.base import revise


class DataTests(AccessTestCase):
    def setUp(self) -> None:
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        settings = override_settings(ARTIFACTS=Path(folder))
        settings.enable()
        self.addCleanup(settings.disable)

    def url(self, name: str = "snapshots", *args: object, **query: str) -> str:
        words = "&".join(f"{key}={value}" for key, value in query.items())
        return reverse(name, args=[self.project.slug, *args]) + (f"?{words}" if words else "")

    def judge(self, count: int) -> None:
        builders.items(self.project, count)
        for _ in range(count):
            builders.judgment(self.project, self.bob, [1, 2, 2, 3])

    def frozen(self) -> Snapshot:
        return snapshots.create_snapshot(project=self.project, creator=self.alice)

    def body(self, url: str, **headers: str) -> bytes:
        response = self.client.get(url, headers=headers)
        assert isinstance(response, StreamingHttpResponse), response.status_code
        return b"".join(response)

    def lines(self, url: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body(url).splitlines()]

    def test_leads_freeze_and_reviewers_read(self) -> None:
        self.judge(1)
        self.frozen()
        self.frozen()
        for name, args in (
            ("snapshots", ()),
            ("live-download", ()),
            ("snapshot", (1,)),
            ("snapshot-download", (1,)),
            ("snapshot-hub", (1,)),
        ):
            self.check(Endpoint(name, args, get=200, reviewer_get=200))
        self.check(Endpoint("freeze", post=302))

    def test_it_freezes_with_a_note_and_a_licence(self) -> None:
        self.judge(2)
        self.sign_in(self.alice)
        self.assertContains(self.client.get(self.url()), "2 new judgments")
        given = {"note": "first", "licence": "cc-by-4.0"}
        self.assertRedirects(self.client.post(self.url("freeze"), given), self.url())
        snapshot = Snapshot.objects.get()
        assert (snapshot.number, snapshot.note, snapshot.counts["judgments"]) == (1, "first", 2)
        assert hashlib.sha256(snapshots.snapshot_path(snapshot).read_bytes()).hexdigest() == snapshot.sha256
        assert snapshot.manifest["licence"] == "cc-by-4.0"
        self.assertContains(self.client.get(self.url()), "0 new judgments since snapshot 1")

    def test_nothing_to_freeze_is_said(self) -> None:
        self.sign_in(self.alice)
        response = self.client.post(self.url("freeze"))
        self.assertContains(response, "There are no judgments yet.", status_code=422)
        response = self.client.post(self.url("freeze"), {"note": "n" * 201})
        self.assertContains(response, "at most 200 characters", status_code=422)
        assert not Snapshot.objects.exists()

    def test_a_snapshots_page_is_its_card(self) -> None:
        self.judge(2)
        self.frozen()
        self.sign_in(self.dana)
        page = self.client.get(self.url("snapshot", 1))
        for words in (
            "How it was collected",
            "10 preference pairs",
            "Prefer the",
            "No licence was given",
            "helpsteer3",
        ):
            self.assertContains(page, words)
        self.assertNotContains(page, ">bob<")

    def test_it_downloads_in_every_form(self) -> None:
        self.judge(1)
        self.frozen()
        self.sign_in(self.dana)
        response = self.client.get(self.url("snapshot-download", 1, format="trl"))
        assert 'filename="helpfulness-1-trl.jsonl"' in response["Content-Disposition"]
        pairs = self.lines(self.url("snapshot-download", 1, format="trl"))
        assert len(pairs) == 5  # 4 choose 2, less the tie
        assert self.lines(self.url("snapshot-download", 1, format="rankings"))[0]["ranks"] == [1, 2, 2, 3]
        assert self.body(self.url("snapshot-download", 1, format="raw", file="parquet"))[:4] == b"PAR1"
        with zipfile.ZipFile(io.BytesIO(self.body(self.url("snapshot-hub", 1)))) as archive:
            assert "helpfulness-1/README.md" in archive.namelist()

    def test_a_part_of_a_file_can_be_had(self) -> None:
        self.judge(2)
        snapshot = self.frozen()
        self.sign_in(self.dana)
        for format in ("trl", "raw"):
            url = self.url("snapshot-download", snapshot.number, format=format)
            whole, etag = self.body(url), self.client.get(url)["ETag"]
            for asked, start, end in (
                ("5-", 5, None),
                ("5-9", 5, 10),
                ("-7", -7, None),
                ("0-999999", 0, None),
            ):
                part = self.client.get(url, headers={"Range": f"bytes={asked}"})
                assert (part.status_code, b"".join(part)) == (206, whole[start:end]), asked
                assert part["Content-Range"].endswith(f"/{len(whole)}")
                assert part["ETag"] == etag
            assert self.client.get(url, headers={"Range": "bytes=999999-"}).status_code == 416
            assert self.client.get(url, headers={"If-None-Match": etag}).status_code == 304
            for headers in (
                {"Range": "bytes=5-", "If-Range": '"other"'},
                {"Range": "lines=5-"},
                {"Range": "bytes=1-2,4-5"},
            ):
                assert self.client.get(url, headers=headers).status_code == 200
        other = self.client.get(self.url("snapshot-download", snapshot.number, format="trl", split="train"))
        assert other["ETag"] != etag

    def test_the_live_download_grows_and_the_snapshot_does_not(self) -> None:
        self.judge(1)
        self.frozen()
        builders.items(self.project, 2)  # the first of them is known already
        builders.judgment(self.project, self.bob)
        self.sign_in(self.alice)
        assert len(self.lines(self.url("live-download", format="raw"))) == 2
        assert len(self.lines(self.url("snapshot-download", 1, format="raw"))) == 1

    def test_two_snapshots_are_compared(self) -> None:
        self.judge(2)
        self.frozen()
        judgment = self.project.items.first().judgments.get()
        revise(judgment, [3, 2, 2, 1])
        builders.items(self.project, 3)
        builders.judgment(self.project, self.dana)
        self.frozen()
        self.sign_in(self.dana)
        difference = self.client.get(f"{self.url('snapshot-difference', 2)}?from=1").context["difference"]
        assert (
            difference.added,
            difference.replaced,
            difference.same,
            difference.removed,
            difference.new_prompts,
        ) == (1, 1, 1, 0, 1)
        assert difference.annotators == [self.dana.pseudonym]
        back = self.client.get(f"{self.url('snapshot-difference', 1)}?from=2").context["difference"]
        assert (back.added, back.removed, back.replaced) == (0, 1, 1)
        for wrong in ("", "9", "x", "-1"):
            assert self.client.get(f"{self.url('snapshot-difference', 2)}?from={wrong}").status_code == 404

    def test_what_is_not_there_is_not_found(self) -> None:
        self.judge(1)
        snapshot = self.frozen()
        self.sign_in(self.alice)
        for query in ({"format": "csv"}, {"split": "some"}, {"agreement": "2"}, {"nothing": "1"}):
            assert self.client.get(self.url("live-download", **query)).status_code == 404, query
        assert self.client.get(self.url("snapshot-download", 2)).status_code == 404
        snapshots.snapshot_path(snapshot).unlink()
        for name in ("snapshot-download", "snapshot", "snapshot-hub"):
            assert self.client.get(self.url(name, 1)).status_code == 404

    def test_a_file_that_the_store_cannot_give_is_an_error_of_the_server(self) -> None:
        self.judge(1)
        path = snapshots.snapshot_path(self.frozen())
        path.chmod(0o644)
        path.write_text("changed")
        self.sign_in(self.alice)
        self.client.raise_request_exception = False
        for name in ("snapshot-download", "snapshot-hub"):
            self.assertContains(self.client.get(self.url(name, 1)), "(ARTIFACT_STORE)", status_code=503)

    def test_empty_fields_of_the_form_are_no_filters(self) -> None:
        self.judge(1)
        self.sign_in(self.alice)
        assert len(self.lines(self.url("live-download", format="trl", split="", tag="", agreement=""))) == 5

    def test_exports_name_nobody(self) -> None:
        self.judge(1)
        self.sign_in(self.alice)
        assert b'"bob"' not in self.body(self.url("live-download", format="raw"))
