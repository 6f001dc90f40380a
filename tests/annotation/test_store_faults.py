"""What a bucket that is full, refuses the keys, goes away or gives another content looks like to leads: a sentence that names the
setting, and nothing half done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from annotation.actions import imports
from annotation.actions.snapshots import create_snapshot
from annotation.models import ExportFile, Import, Project, Prompt, Snapshot, User
from annotation.store import StoreError, WrongHash, s3_store, store, stores
from tests import builders
from tests.faulty_s3 import FaultyS3, faulty_s3
from tests.s3_server import bucket_as_store, s3_server

pytestmark = [pytest.mark.live, pytest.mark.django_db]

ROWS = b'{"prompt": "When does the ferry leave?", "responses": ["At nine", "Never", "Soon"]}\n'
UPLOADS = ["PUT", "POST"]


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultyS3]:
    with s3_server() as server, faulty_s3(server) as proxy:
        yield proxy


@pytest.fixture
def bucket(proxy: FaultyS3, tmp_path: Path) -> Iterator[FaultyS3]:
    with bucket_as_store(proxy, tmp_path / "artifacts", tmp_path.name):
        yield proxy
        proxy.fault()


@pytest.fixture
def alice() -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    project = builders.project(alice, k=3)
    builders.items(project, 2, k=3)
    builders.judgment(project, alice)
    return project


@pytest.fixture
def client(alice: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(alice, backend="annotation.backends.AccountBackend")
    return client


def empty_cache(folder: Path) -> None:
    for path in (folder / "artifacts" / "cache").rglob("*"):
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (507, "XMinioStorageFull", r"ARTIFACT_STORE\) is full: make room.*507 XMinioStorageFull"),
        (403, "QuotaExceeded", r"ARTIFACT_STORE\) is full: make room.*403 QuotaExceeded"),
        (403, "SignatureDoesNotMatch", r"refuses access: check AWS_ACCESS_KEY_ID.*403 SignatureDoesNotMatch"),
        (404, "NoSuchBucket", "There is no bucket"),
        (503, "SlowDown", r"AWS_ENDPOINT_URL\) is not available: 503 SlowDown"),
    ],
)
@pytest.mark.parametrize("size", [10, s3_store.PART + 1])
def test_an_upload_that_is_refused_is_a_sentence(
    bucket: FaultyS3, tmp_path: Path, size: int, status: int, code: str, sentence: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(size))
    bucket.fault(status=status, code=code, methods=UPLOADS)
    with pytest.raises(StoreError, match=sentence) as error:
        store().put(file, "runs/1", transfer="move")
    assert "\n" not in str(error.value)
    bucket.fault()
    assert file.exists()
    assert store().exists(store().put(file, "runs/1"))


def test_a_content_that_is_cut_off_or_another_never_reaches_the_reader(
    bucket: FaultyS3, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(1000 * b"one\n")
    uri = store().put(tmp_path / "file", "runs/1")
    for fault, error in (("truncated", StoreError), ("replaced", WrongHash)):
        bucket.fault(methods=["GET"], **{fault: True})
        with pytest.raises(error, match="ARTIFACT_STORE"):
            store().get(uri, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
        assert not list((tmp_path / "artifacts").rglob("*.partial"))
    bucket.fault()
    store().get(uri, tmp_path / "copy")


def test_a_slow_bucket_is_waited_for_and_a_silent_one_is_away(
    bucket: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"one\n")
    uri = store().put(tmp_path / "file", "runs/1")
    bucket.fault(delay_s=1)
    assert store().path(uri).read_bytes() == b"one\n"
    monkeypatch.setitem(s3_store.TIMEOUTS, "read_timeout", "200ms")
    stores._store.cache_clear()
    with pytest.raises(StoreError, match=r"AWS_ENDPOINT_URL\) is not available"):
        store().exists(uri)


def test_a_full_bucket_takes_no_upload_of_prompts(bucket: FaultyS3, project: Project, client: Client) -> None:
    bucket.fault(status=507, code="XMinioStorageFull", methods=UPLOADS)
    upload = SimpleUploadedFile("prompts.jsonl", ROWS)
    page = client.post(f"/p/{project.slug}/import/", {"file": upload})
    assert page.status_code == 422
    assert "(ARTIFACT_STORE) is full" in page.content.decode()
    assert not Import.objects.exists()


def test_an_import_whose_file_cannot_be_read_imports_nothing(
    bucket: FaultyS3, project: Project, client: Client, tmp_path: Path
) -> None:
    prompts = Prompt.objects.count()
    client.post(f"/p/{project.slug}/import/", {"file": SimpleUploadedFile("prompts.jsonl", ROWS)})
    upload = Import.objects.get()
    empty_cache(tmp_path)
    bucket.fault(status=403, code="AccessDenied")
    preview = client.get(f"/p/{project.slug}/import/{upload.pk}/", follow=True)
    assert "AWS_ACCESS_KEY_ID" in preview.content.decode()
    imports.start(upload)
    claimed = imports.claim(upload.pk)
    assert claimed is not None
    imports.run_import(claimed)
    upload.refresh_from_db()
    assert upload.state == Import.State.FAILED
    assert "AWS_ACCESS_KEY_ID" in upload.report["reason"]
    assert Prompt.objects.count() == prompts
    report = client.get(f"/p/{project.slug}/import/{upload.pk}/")
    assert "AWS_ACCESS_KEY_ID" in report.content.decode()


def test_a_full_bucket_freezes_nothing(bucket: FaultyS3, project: Project, client: Client) -> None:
    bucket.fault(status=403, code="QuotaExceeded", methods=UPLOADS)
    page = client.post(f"/p/{project.slug}/data/freeze/")
    assert page.status_code == 422
    assert "(ARTIFACT_STORE) is full" in page.content.decode()
    assert not Snapshot.objects.exists()
    bucket.fault()
    assert client.post(f"/p/{project.slug}/data/freeze/").status_code == 302


@pytest.mark.parametrize(
    "path", ["/p/{}/data/1/file/?format=kto", "/api/v1/projects/{}/snapshots/1/file/?format=kto"]
)
def test_a_download_says_what_is_wrong_with_the_bucket(
    bucket: FaultyS3, project: Project, alice: User, client: Client, path: str, tmp_path: Path
) -> None:
    create_snapshot(project=project, creator=alice)
    path = path.format(project.slug)

    def refused(sentence: str) -> None:
        answer = client.get(path)
        assert answer.status_code == 503
        assert sentence in answer.content.decode()

    bucket.fault(status=507, code="XMinioStorageFull", methods=UPLOADS)
    refused("(ARTIFACT_STORE) is full")
    empty_cache(tmp_path)
    bucket.fault(replaced=True, methods=["GET"])
    refused("has another content than its SHA-256 says")
    bucket.fault(status=503, code="SlowDown")
    refused("AWS_ENDPOINT_URL) is not available")
    assert not ExportFile.objects.exists()
    assert not list((tmp_path / "artifacts" / "tmp").iterdir())
    bucket.fault()
    assert client.get(path).status_code == 302
    bucket.fault(status=403, code="AccessDenied")
    refused("AWS_ACCESS_KEY_ID")  # and no link to what the bucket says as XML
