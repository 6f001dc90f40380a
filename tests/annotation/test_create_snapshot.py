from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest
from django.db import DatabaseError, transaction
from django.test import override_settings

from annotation.actions import leases, snapshots
from annotation.actions.snapshots import SnapshotError
from annotation.exports.dataset_card import render_card
from annotation.models import Item, Slot, Snapshot, User
from tests import builders
from tests.annotation.queue_case import expire
from tests.base import PalateTestCase


class FreezeTests(PalateTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.artifacts = Path(folder.name)
        settings = override_settings(ARTIFACTS=self.artifacts)
        settings.enable()
        self.addCleanup(settings.disable)

    def create_snapshot(self, note: str = "") -> Snapshot:
        return snapshots.create_snapshot(project=self.project, creator=self.alice, note=note)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.artifacts.rglob("*") if not path.is_dir())

    def test_it_writes_every_judgment_and_keeps_the_files_sha256(self) -> None:
        builders.items(self.project, 3)
        builders.judgment(self.project, self.bob, [1, 2, 3, 4])
        builders.judgment(self.project, self.bob, [1, 1, 2, 2])
        newest = builders.judgment(self.project, self.dana)
        snapshot = self.create_snapshot("before the pilot")
        data = snapshots.snapshot_path(snapshot).read_bytes()
        assert snapshot.sha256 == hashlib.sha256(data).hexdigest()
        rows = [json.loads(line) for line in data.splitlines()]
        assert rows == list(snapshots.read_rankings(snapshot))
        rows.sort(key=lambda row: row["judgment"])
        assert [row["ranks"] for row in rows] == [[1, 2, 3, 4], [1, 1, 2, 2], [1, 2, 3, 4]]
        assert {row["annotator"] for row in rows} == {self.bob.pseudonym, self.dana.pseudonym}
        assert "bob" not in data.decode()
        assert snapshot.last_judgment == newest.pk
        assert (snapshot.number, snapshot.note) == (1, "before the pilot")
        counts = snapshot.counts
        assert (counts["judgments"], counts["pairs"], counts["prompts"], counts["annotators"]) == (
            3,
            16,
            3,
            2,
        )
        by_split = [counts.get(f"pairs_{split}", 0) for split in ("train", "held_out")]
        assert sum(by_split) == 16

    def test_its_card_tells_what_was_seen_and_not_what_is_set(self) -> None:
        builders.items(self.project, 2)
        builders.items(self.project, 3, k=2)
        for _ in range(4):
            builders.judgment(self.project, self.bob)
        self.project.k, self.project.overlap = 7, 5
        self.project.save()
        User.objects.filter(pk=self.dana.pk).update(account="machine")
        Slot.objects.create(item=Item.objects.earliest("pk"), project=self.project)
        builders.judgment(self.project, self.dana)
        card = render_card(self.create_snapshot().manifest)
        seen = self.create_snapshot().manifest["census"]
        assert (
            sum(seen["answers"].values())
            == sum(int(n) * items for n, items in seen["judgments_per_item"].items())
            == 5
        )
        for k, n in seen["answers"].items():
            assert f"{k} answers side by side ({n} judgments)" in card
        assert "7 answers" not in card
        assert "1 of the judgments come from scripts or AI labelers, 4 from people" in card

    def test_it_leaves_out_what_does_not_count(self) -> None:
        builders.items(self.project, 1)
        late = leases.claim(project=self.project, annotator=self.bob)
        expire(late)
        counted = builders.judgment(self.project, self.dana)
        builders.submit(late)
        assert [row["judgment"] for row in snapshots.read_rankings(self.create_snapshot())] == [counted.pk]

    def test_an_earlier_snapshot_stays_as_it_was(self) -> None:
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        first = self.create_snapshot()
        before = snapshots.snapshot_path(first).read_bytes()
        builders.judgment(self.project, self.bob)
        second = self.create_snapshot()
        assert (first.number, second.number) == (1, 2)
        assert snapshots.snapshot_path(first).read_bytes() == before
        assert set(before.splitlines()) < set(snapshots.snapshot_path(second).read_bytes().splitlines())

    def test_the_same_judgments_give_the_same_file(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        assert self.create_snapshot().sha256 == self.create_snapshot().sha256

    def test_the_database_refuses_to_change_or_delete_it(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        snapshot = self.create_snapshot()
        for change in (
            lambda: Snapshot.objects.update(sha256="0" * 64),
            lambda: Snapshot.objects.filter(pk=snapshot.pk).delete(),
        ):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                change()

    def test_there_must_be_something_to_freeze(self) -> None:
        with pytest.raises(SnapshotError, match="no judgments"):
            self.create_snapshot()
        assert not Snapshot.objects.exists()
        assert self.files() == []

    def test_a_full_disk_leaves_nothing(self) -> None:
        """/dev/full is a real full disk: it takes nothing."""
        full = Path("/dev/full")
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        with (
            patch.object(snapshots, "scratch_file", lambda: nullcontext(full)),
            pytest.raises(SnapshotError, match="No space left on device"),
        ):
            self.create_snapshot()
        assert not Snapshot.objects.exists()
        assert self.files() == []
        assert self.create_snapshot().number == 1

    def test_a_folder_that_cannot_be_made_leaves_nothing(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        (self.artifacts / "store").write_text("a file stands in the way")
        with pytest.raises(SnapshotError, match=r"could not be written: The store .*ARTIFACT_STORE"):
            self.create_snapshot()
        assert not Snapshot.objects.exists()
        assert self.files() == ["store"]
