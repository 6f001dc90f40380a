from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from django.test import TestCase, override_settings

from annotation.actions.snapshots import snapshot_path
from annotation.models import Snapshot
from tests import builders
from tests.annotation.api.base import ApiTestCase, EndpointTests

PATH = "projects/helpfulness/snapshots/"


class SnapshotTests(EndpointTests, ApiTestCase, TestCase):
    ENDPOINTS = (("GET", PATH, "lead reviewer", None), ("POST", PATH, "lead", {}))

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.artifacts = Path(folder.name)
        settings = override_settings(ARTIFACTS=self.artifacts)
        settings.enable()
        self.addCleanup(settings.disable)

    def test_it_freezes_and_lists(self) -> None:
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        made = self.post(PATH, self.alice, {"note": "pilot"})
        assert made.status_code == 201
        said = made.json()
        assert (said["number"], said["note"], said["counts"]["judgments"], said["counts"]["pairs"]) == (
            1,
            "pilot",
            1,
            6,
        )
        file = snapshot_path(Snapshot.objects.get())
        assert said["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert Snapshot.objects.get().created_by == self.alice
        self.post(PATH, self.alice)
        assert [snapshot["number"] for snapshot in self.get(PATH, self.dana).json()["results"]] == [2, 1]

    def test_they_come_by_the_page_newest_first(self) -> None:
        blank = {"path": "x", "sha256": "0" * 64, "counts": {}, "last_judgment": 0, "created_by": self.alice}
        Snapshot.objects.bulk_create(
            Snapshot(project=self.project, number=number, **blank) for number in range(1, 251)
        )
        pages = self.pages(PATH, self.dana)
        assert [len(page) for page in pages] == [100, 100, 50]
        assert [one["number"] for page in pages for one in page] == list(range(250, 0, -1))
        self.refused(self.get(f"{PATH}?cursor=cD14", self.dana), 400, "cursor", "unchanged")

    def test_there_must_be_something_to_freeze(self) -> None:
        self.refused(self.post(PATH, self.alice, {}), 400, "detail", "no judgments")
        assert not Snapshot.objects.exists()

    def test_a_disk_that_takes_nothing_is_said(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        (self.artifacts / "store").write_text("in the way")
        self.refused(self.post(PATH, self.alice, {}), 400, "detail", "could not be written")
        assert not Snapshot.objects.exists()

    def test_a_file_that_the_store_cannot_give_is_an_error_of_the_server(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        self.post(PATH, self.alice, {})
        path = snapshot_path(Snapshot.objects.get())
        path.chmod(0o644)
        path.write_text("changed")
        self.refused(
            self.get(f"{PATH}1/file/", self.alice), 503, "detail", "(ARTIFACT_STORE) has another content"
        )

    def test_a_bad_note_is_refused(self) -> None:
        for note in ("x" * 201, "a\0b", ["x"], "\ud800"):
            self.refused(self.post(PATH, self.alice, {"note": note}), 400, "note")
