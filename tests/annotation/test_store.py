"""Both stores behave alike: a folder, and a bucket of a real S3 server."""

from __future__ import annotations

import hashlib
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from django.test import override_settings

from annotation.store import (
    MissingObject,
    StoreError,
    WrongHash,
    folder_file,
    folder_files,
    get_folder,
    put_folder,
    store,
    stores,
)
from annotation.store import cache as caches
from annotation.store.s3_store import PART
from tests.s3_server import S3Server, bucket_as_store, s3_server

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(server: S3Server, tmp_path: Path) -> Iterator[S3Server]:
    """The settings of a bucket with a prefix of its own, and a cache that is empty."""
    with bucket_as_store(server, tmp_path / "artifacts", tmp_path.name):
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[None]:
    with override_settings(ARTIFACTS=tmp_path / "artifacts", ARTIFACT_STORE=""):
        yield


@pytest.mark.parametrize("place", ["folder", "bucket"])
class TestBothStores:
    @pytest.fixture(autouse=True)
    def settings_of(self, place: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        request.getfixturevalue(place)
        self.tmp = tmp_path

    def file(self, content: bytes = b"one\n", name: str = "file.txt") -> Path:
        path = self.tmp / name
        path.write_bytes(content)
        return path

    def forget(self) -> None:
        """Empty the cache, as on another machine."""
        for path in (self.tmp / "artifacts" / "cache").rglob("*"):
            if path.is_file():
                path.unlink()

    def test_an_object_is_named_by_its_sha256_and_comes_back(self) -> None:
        uri = store().put(self.file(), "runs/1")
        assert uri == f"store:runs/1/{hashlib.sha256(b'one' + bytes([10])).hexdigest()}"
        self.forget()
        assert store().path(uri).read_bytes() == b"one\n"
        assert b"".join(store().chunks(uri)) == b"one\n"
        store().get(uri, self.tmp / "deep" / "copy")
        assert (self.tmp / "deep" / "copy").read_bytes() == b"one\n"

    def test_a_file_of_several_parts_comes_back(self) -> None:
        content = os.urandom(PART + 12345)
        uri = store().put(self.file(content), "runs/1", transfer="link")
        self.forget()
        assert store().path(uri).read_bytes() == content

    def test_an_empty_file_comes_back(self) -> None:
        uri = store().put(self.file(b""), "runs/1")
        self.forget()
        assert store().path(uri).read_bytes() == b""

    def test_putting_the_same_again_changes_nothing(self) -> None:
        first = store().put(self.file(), "runs/1")
        changed_at = store().path(first).stat().st_mtime_ns
        assert store().put(self.file(), "runs/1", transfer="move") == first
        assert not (self.tmp / "file.txt").exists()
        assert store().path(first).read_bytes() == b"one\n"
        assert changed_at

    def test_it_tells_whether_there_is_an_object(self) -> None:
        uri = store().put(self.file(), "runs/1")
        self.forget()
        assert store().exists(uri)
        store().delete(uri)
        assert not store().exists(uri)

    def test_what_happens_to_the_file_is_the_callers_choice(self) -> None:
        uri = store().put(self.file(), "runs/1", transfer="copy")
        self.file(b"changed later")
        self.forget()
        assert store().path(uri).read_bytes() == b"one\n"
        moved = store().put(self.file(b"two"), "runs/1", transfer="move")
        assert not (self.tmp / "file.txt").exists()
        assert store().path(moved).read_bytes() == b"two"

    def test_equal_contents_of_two_owners_are_two_objects(self) -> None:
        one, two, three = (store().put(self.file(), f"imports/{name}") for name in ("a", "b", "bb"))
        store().delete(one)
        with pytest.raises(MissingObject, match=r"is not in the store .*ARTIFACT_STORE"):
            store().path(one)
        assert store().path(two).read_bytes() == b"one\n"
        store().delete(one)  # twice does no harm
        store().delete_scope("imports/b")
        self.forget()
        assert store().path(three).read_bytes() == b"one\n"
        for read in (store().path, lambda uri: list(store().chunks(uri))):
            with pytest.raises(MissingObject):
                read(two)

    def test_a_content_that_is_not_that_of_its_name_is_refused(self) -> None:
        uri = store().put(self.file(), "runs/1")
        key = uri.removeprefix("store:")
        if (self.tmp / "artifacts" / "store").exists():
            (self.tmp / "artifacts" / "store" / key).write_bytes(b"0ne\n")
        else:
            obstore.put(store().client, key, b"0ne\n")  # type: ignore[union-attr]
            self.forget()
        for read in (store().path, lambda uri: list(store().chunks(uri))):
            with pytest.raises(WrongHash, match=r"ARTIFACT_STORE\) has another content"):
                read(uri)
        with pytest.raises(WrongHash):
            store().get(uri, self.tmp / "copy")
        assert not (self.tmp / "copy").exists()
        assert not list((self.tmp / "artifacts").rglob("*.partial"))

    def test_what_is_no_uri_of_an_object_is_refused(self) -> None:
        good = store().put(self.file(), "runs/1")
        sha = good[-64:]
        for uri in (
            "",
            "file:/etc/passwd",
            f"store:../{sha}",
            f"store:runs/../../{sha}",
            f"store:/{sha}",
            good + "/x",
            "org/m",
        ):
            with pytest.raises(StoreError, match="is not the URI of an object"):
                store().path(uri)

    def test_a_folder_is_a_manifest_and_its_files(self) -> None:
        source = self.tmp / "model"
        (source / "deep").mkdir(parents=True)
        (source / "config.json").write_text("{}")
        (source / "deep" / "weights").write_bytes(b"1234")
        (source / "link").symlink_to("/etc/passwd")
        uri = put_folder(source, "runs/2")
        assert put_folder(source, "runs/2") == uri
        self.forget()
        assert {name: file.size for name, file in folder_files(uri).items()} == {
            "config.json": 2,
            "deep/weights": 4,
        }
        assert folder_file(uri, "deep/weights").read_bytes() == b"1234"
        with pytest.raises(MissingObject):
            folder_file(uri, "link")
        target = self.tmp / "staged"
        target.mkdir()
        (target / "old").touch()
        get_folder(uri, target)
        files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
        assert files == {"config.json", "deep/weights"}

    def test_a_missing_file_of_a_folder_leaves_the_target_as_it_was(self) -> None:
        source, target = self.tmp / "model", self.tmp / "staged"
        for path in (source, target):
            path.mkdir()
            (path / "a").write_text(path.name)
        uri = put_folder(source, "runs/2")
        store().delete(folder_files(uri)["a"].uri)
        with pytest.raises(MissingObject):
            get_folder(uri, target)
        assert [path.read_text() for path in target.iterdir()] == ["staged"]


def test_a_folder_is_used_in_place(folder: None, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"1234")
    uri = store().put(file, "runs/1", transfer="link")
    store().get(uri, tmp_path / "staged")
    assert file.stat().st_ino == store().path(uri).stat().st_ino == (tmp_path / "staged").stat().st_ino
    assert store().link(uri) == ""


def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        override_settings(ARTIFACT_STORE=f"file://{tmp_path / 'file'}"),
        pytest.raises(StoreError, match="ARTIFACT_STORE"),
    ):
        store().put(tmp_path / "file", "runs/1")


def test_a_presigned_link_needs_no_keys_and_has_the_files_name(bucket: S3Server, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"1234")
    uri = store().put(file, "runs/1", name=file.name)
    with urllib.request.urlopen(store().link(uri)) as answer:
        assert answer.read() == b"1234"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="model.safetensors"'


def test_there_is_no_link_to_an_object_that_is_missing(bucket: S3Server) -> None:
    with pytest.raises(MissingObject, match="ARTIFACT_STORE"):
        store().link(f"store:runs/1/{64 * 'a'}")


def test_a_bucket_that_is_away_is_an_error_that_names_the_setting(bucket: S3Server, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    uri = store().put(file, "runs/1")
    bucket.stop()
    try:
        with pytest.raises(StoreError, match=r"ARTIFACT_STORE, AWS_ENDPOINT_URL\) is not available"):
            store().put(file, "runs/2")
        with pytest.raises(StoreError, match="ARTIFACT_STORE"):
            store().path(uri)
    finally:
        bucket.start()


def test_wrong_keys_are_an_error_that_names_the_settings(bucket: S3Server, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="1") as strict, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", strict.url)
        stores._store.cache_clear()
        with pytest.raises(StoreError, match=r"ARTIFACT_STORE\) refuses access: check AWS_ACCESS_KEY_ID"):
            store().put(file, "runs/1")
        with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY"):
            store().path(f"store:runs/1/{64 * 'a'}")


def test_a_bucket_that_does_not_exist_is_an_error(bucket: S3Server, tmp_path: Path) -> None:
    with (
        override_settings(ARTIFACT_STORE="s3://another"),
        pytest.raises(StoreError, match=r"no bucket of the store s3://another .ARTIFACT_STORE"),
    ):
        store().put(tmp_path / "x" if (tmp_path / "x").write_text("x") else tmp_path, "runs/1")


class TestCache:
    @pytest.fixture(autouse=True)
    def limit(self, bucket: S3Server, tmp_path: Path) -> Iterator[None]:
        self.tmp = tmp_path
        with override_settings(ARTIFACT_CACHE_GB=2500 / 2**30):
            yield

    def put(self, name: str) -> str:
        path = self.tmp / name
        path.write_bytes(name.encode() * 1000)
        return store().put(path, "runs/1")

    def test_the_least_recently_used_goes_first(self) -> None:
        uris = [self.put(name) for name in "abc"]
        now = time.time()
        for uri, age in zip(uris[:2], (2000, 3000), strict=True):
            os.utime(store().path(uri), (now - age, now - age))
        third = store().path(uris[2])
        cache = store().cache  # type: ignore[union-attr]
        assert [cache.find(uri.removeprefix("store:")) is not None for uri in uris] == [True, False, True]
        assert third.exists()

    def test_what_is_in_use_stays_though_the_cache_is_too_large(self) -> None:
        paths = [store().path(self.put(name)) for name in "abcd"]
        assert all(path.exists() for path in paths)

    def test_a_staged_file_stays_when_the_cache_drops_it(self) -> None:
        uri = self.put("a")
        store().get(uri, self.tmp / "staged")
        store().cache.discard(uri.removeprefix("store:"))  # type: ignore[union-attr]
        assert (self.tmp / "staged").read_bytes() == b"a" * 1000

    def test_what_a_killed_process_left_half_written_goes_after_a_day(self) -> None:
        for name, age in (("old", caches.OUTDATED_S + 60), ("new", 60)):
            path = self.tmp / "artifacts" / "cache" / f"{name}.partial"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (time.time() - age,) * 2)
        store().path(self.put("a"))
        assert [path.stem for path in (self.tmp / "artifacts" / "cache").glob("*.partial")] == ["new"]
