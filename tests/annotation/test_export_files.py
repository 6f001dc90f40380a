"""Export files of snapshots in the store: made once, sent by every web machine, deleted when nobody downloads them."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone
from palate_client import Palate

from annotation.actions import export_files
from annotation.actions.snapshots import create_snapshot
from annotation.exports.selection import Selection
from annotation.models import ApiToken, ExportFile, Snapshot, User
from annotation.store import StoreError, store
from tests import builders
from tests.processes import free_port, process, until
from tests.s3_server import S3Server, bucket_as_store, s3_server

pytestmark = [pytest.mark.live, pytest.mark.django_db]

EXPORTS = ("file/", "file/?format=trl&split=train", "file/?format=raw&file=parquet", "hub/")
TRL = Selection.from_parameters({"format": "trl"})


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def alice() -> User:
    return builders.user("alice", is_staff=True)


def frozen(alice: User) -> Snapshot:
    project = builders.project(alice, k=3)
    builders.items(project, 4, k=3)
    for _ in range(4):
        builders.judgment(project, alice)
    return create_snapshot(project=project, creator=alice)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_another_web_machine_sends_the_same_bytes_by_a_link(
    alice: User, server: S3Server, tmp_path: Path
) -> None:
    client = Client()
    client.force_login(alice, backend="annotation.backends.AccountBackend")
    with bucket_as_store(server, tmp_path / "first", tmp_path.name):
        snapshot = frozen(alice)
        path = f"/api/v1/projects/{snapshot.project.slug}/snapshots/1/"
        first = {export: client.get(path + export).headers["Location"] for export in EXPORTS}
        with urllib.request.urlopen(first["file/"]) as answer:
            assert answer.headers["Content-Disposition"].endswith('-1-trl.jsonl"')
    with bucket_as_store(server, tmp_path / "second", tmp_path.name):
        for export, link in first.items():
            answer = client.get(path + export)
            assert answer.status_code == 302
            assert answer.headers["Location"].split("?")[0] == link.split("?")[0], export
        assert files_below(tmp_path / "second") == []  # neither made again nor downloaded
        links = {export: client.get(path + export).headers["Location"] for export in EXPORTS}
        contents = {export: urllib.request.urlopen(link).read() for export, link in links.items()}
    with bucket_as_store(server, tmp_path / "third", tmp_path.name):
        whole = store().path(snapshot.path)
        with override_settings(ARTIFACT_STORE="", ARTIFACTS=tmp_path / "fourth"):
            assert store().put(whole, f"snapshots/{snapshot.project.slug}/1") == snapshot.path
            ExportFile.objects.all().delete()
            for export in EXPORTS:
                assert b"".join(client.get(path + export)) == contents[export], export


def test_a_file_that_the_bucket_has_lost_is_made_again(alice: User, server: S3Server, tmp_path: Path) -> None:
    with bucket_as_store(server, tmp_path / "artifacts", tmp_path.name):
        snapshot = frozen(alice)
        uri = export_files.export_file(snapshot, TRL)
        content = store().path(uri).read_bytes()
        store().delete(uri)
        assert export_files.export_file(snapshot, TRL) == uri
        assert store().path(uri).read_bytes() == content
        assert ExportFile.objects.count() == 1


class TestFolder:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> Iterator[None]:
        self.artifacts = tmp_path
        with override_settings(ARTIFACTS=tmp_path, ARTIFACT_STORE=""):
            yield

    def test_a_file_is_made_once(self, alice: User) -> None:
        snapshot = frozen(alice)
        path = store().path(export_files.export_file(snapshot, TRL))
        made_at = path.stat().st_mtime_ns
        assert store().path(export_files.export_file(snapshot, TRL)).stat().st_mtime_ns == made_at
        assert not files_below(self.artifacts / "tmp")

    def test_files_that_nobody_downloads_are_deleted_when_another_is_made(self, alice: User) -> None:
        snapshot = frozen(alice)
        old, new = export_files.export_file(snapshot, TRL), export_files.hub_zip(snapshot)
        days = timezone.now() - timedelta(days=2)
        ExportFile.objects.filter(uri=old).update(used_at=days)
        export_files.export_file(snapshot, Selection.from_parameters({"format": "kto"}))
        assert not store().exists(old)
        assert store().exists(new)
        assert store().exists(snapshot.path)
        # a download counts as a use
        ExportFile.objects.filter(uri=new).update(used_at=days)
        export_files.hub_zip(snapshot)
        assert ExportFile.objects.get(uri=new).used_at > days

    def test_a_disk_that_cannot_be_written_is_an_error_in_a_sentence(self, alice: User) -> None:
        snapshot = frozen(alice)
        (self.artifacts / "tmp").rmdir()
        (self.artifacts / "tmp").symlink_to("/proc")
        with pytest.raises(StoreError, match="could not be written"):
            export_files.export_file(snapshot, TRL)
        assert not ExportFile.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow(20)
def test_the_client_follows_the_link_and_resumes_from_the_bucket(
    alice: User, server: S3Server, tmp_path: Path
) -> None:
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    token = ApiToken.issue(user=alice, name="t", scope="lead")[1]
    with bucket_as_store(server, tmp_path / "artifacts", tmp_path.name):
        slug = frozen(alice).project.slug
        store_settings = {"ARTIFACT_STORE": settings.ARTIFACT_STORE}
        with process("web", port=port, **store_settings), Palate(site, token) as palate:
            until(lambda: is_up(site), "the site answers")
            whole = palate.export(slug, tmp_path / "whole.jsonl", snapshot=1).read_bytes()
            assert len(whole.splitlines()) == 12
            link = store().link(ExportFile.objects.get().uri)
            with urllib.request.urlopen(link) as answer:
                etag = answer.headers["ETag"]
            (tmp_path / "part.jsonl.part").write_bytes(whole[:100])
            (tmp_path / "part.jsonl.part.etag").write_text(etag)
            counted: list[int] = []
            path = palate.export(slug, tmp_path / "part.jsonl", snapshot=1, on_bytes=counted.append)
            assert path.read_bytes() == whole
            assert counted[0] == 100


def is_up(site: str) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"{site}/livez", timeout=60).close()
        return True
    return False
