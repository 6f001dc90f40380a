"""Backups, rehearsed: a site with models, snapshots and open work is backed up, and restored on another one."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, override_settings

from annotation.actions import export_files, imports, snapshots, uploads
from annotation.exports.selection import Selection
from annotation.models import ExportFile, Import, Item, Judgment, Member, Project, Snapshot, User
from annotation.store import put_folder, store
from config.health import database_parameters
from tests import builders
from tests.opinions import opinion_set
from tests.s3_server import S3Server, bucket_as_store, s3_server
from training.backups import actions
from training.backups.actions import make_backup, restore_backup
from training.backups.errors import BackupError
from training.backups.manifest import NAME, read_manifest
from training.backups.objects import named_objects
from training.backups.postgres import _environment, _program
from training.models import ModelVersion, Run
from training.registry.actions import add_model, remove_files, retire
from training.runs.outputs import store_output

pytestmark = [pytest.mark.live, pytest.mark.slow(90), pytest.mark.django_db(transaction=True)]

OTHER = "palate_of_backup_tests"


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def folder_store(tmp_path: Path) -> Iterator[None]:
    with folder_as_store(tmp_path / "artifacts"):
        yield


@pytest.fixture
def other_database() -> Iterator[None]:
    """A database with nothing in it."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {OTHER} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {OTHER}")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {OTHER} WITH (FORCE)")


@contextmanager
def folder_as_store(artifacts: Path) -> Iterator[None]:
    with override_settings(ARTIFACTS=artifacts, ARTIFACT_STORE=""):
        yield


@contextmanager
def other_database_in_use() -> Iterator[None]:
    here = connection.settings_dict["NAME"]

    def use(name: str) -> None:
        connection.close()
        connection.close_pool()
        connection.settings_dict["NAME"] = name

    use(OTHER)
    try:
        yield
    finally:
        use(here)


def downloaded(answer: Any) -> bytes:
    """The body, or that of the bucket's link, which has a name for the file."""
    if answer.status_code != 302:
        return b"".join(answer)
    with urllib.request.urlopen(answer["Location"]) as file:
        assert "filename=" in file.headers["Content-Disposition"]
        return file.read()


def finished_run(project: Project, alice: User, model: Path, name: str) -> ModelVersion:
    """A run as a trainer leaves it, whose output is a real model."""
    run = Run.objects.create(project=project, kind="sft", config={}, created_by=alice, state="done")
    shutil.copytree(model, run.folder / "output")
    store_output(run)
    (run.folder / "data.jsonl").write_text(f"{run.pk}\n")
    run.files["data"] = store().put(run.folder / "data.jsonl", f"runs/{run.pk}")
    run.save()
    return add_model(project=project, kind="policy", name=name, location=run.files["output"], run=run)


@pytest.fixture
def site(tiny_policy: Path, alice: User, tmp_path: Path) -> Callable[[], Project]:
    def make() -> Project:
        """A project with a file of each kind that rows name."""
        project = builders.project(alice, k=3)
        builders.join(project, builders.user("bob"), Member.Role.ANNOTATOR)
        builders.items(project, 6, k=3)
        for _ in range(4):
            builders.judgment(project, alice)
        snapshot = snapshots.create_snapshot(project=project, creator=alice)
        export_files.export_file(snapshot, Selection.from_parameters({"format": "trl"}))
        opinion_set(project, alice, lambda first, second: 0.5)
        finished_run(project, alice, tiny_policy, "first")
        old = finished_run(project, alice, tiny_policy, "old")
        retire(old, alice)
        remove_files(old)
        checkpoint = tmp_path / "checkpoint"
        checkpoint.mkdir()
        (checkpoint / "state.json").write_text("{}")
        files = {"checkpoint": put_folder(checkpoint, "checkpoints/7", "copy")}
        Run.objects.create(project=project, kind="sft", config={}, created_by=alice, files=files)
        for name in ("open.jsonl", "over.jsonl"):
            file = io.BytesIO(
                b'{"id": "x", "prompt": "Question?", "responses": ["One.", "Two.", "Three."]}\n'
            )
            upload = uploads.save_upload(project=project, name=name, file=file, creator=alice)
        imports.cancel(upload)
        return project

    return make


def uris_in_rows() -> set[str]:
    """All that looks like the URI of an object in a column of any table."""
    dump = subprocess.run(
        [_program("pg_dump"), "--data-only", "--inserts"],
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"store:[\w./-]+/[0-9a-f]{64}", dump.stdout))


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_backup_is_restored_on_another_site(
    place: str,
    site: Callable[[], Project],
    server: S3Server,
    tmp_path: Path,
    other_database: None,
) -> None:
    def site_store(name: str) -> AbstractContextManager[None]:
        if place == "folder":
            return folder_as_store(tmp_path / name)
        return bucket_as_store(server, tmp_path / name, f"{tmp_path.name}/{name}")

    with site_store("artifacts"):
        project = site()
        over = Import.objects.get(name="over.jsonl")
        unneeded = {over.path, *ExportFile.objects.values_list("uri", flat=True)}
        assert uris_in_rows() - unneeded <= set(named_objects()), (
            "every file that rows name is known to backups"
        )
        backup = make_backup(tmp_path / "backups", quiet)
        rows = actions._count_rows()
        judged, model = Judgment.objects.count(), ModelVersion.objects.get(name="first")
        manifest = read_manifest(backup)
        assert manifest.missing == []
        assert manifest.rows == rows

    with other_database_in_use(), site_store("other"):
        restore_backup(backup, quiet)
        assert actions._count_rows() == rows
        assert all(store().exists(uri) for uri in named_objects())
        client = Client()
        client.force_login(User.objects.get(username="alice"), backend="annotation.backends.AccountBackend")
        for name in ("model.safetensors", "config.json"):
            answer = client.get(f"/api/v1/models/{model.pk}/file/?file={name}")
            copy = next((tmp_path / "artifacts" / "runs").glob(f"*/output/{name}"))
            assert downloaded(answer) == copy.read_bytes()
        assert client.get(f"/p/{project.slug}/").status_code == 200
        builders.judgment(Project.objects.get(), User.objects.get(username="bob"))
        assert Judgment.objects.count() == judged + 1
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            Judgment.objects.update(seconds=1)
        assert Item.objects.count() == rows["annotation_item"]
        export_files.export_file(Snapshot.objects.get(), Selection.from_parameters({"format": "trl"}))
        assert store().exists(ExportFile.objects.get().uri), "exports are made again"
        call_command("migrate", check=True)  # nothing is left to be migrated


def test_the_commands_refuse_what_cannot_be_restored(
    folder_store: None, site: Callable[[], Project], tmp_path: Path, other_database: None
) -> None:
    site()
    lines = io.StringIO()
    call_command("backup", str(tmp_path / "backups"), stdout=lines)
    backup = Path(lines.getvalue().split()[-1])
    manifest = (backup / NAME).read_text()
    snapshot = Snapshot.objects.get()
    copy = tmp_path / "backups" / "objects" / snapshot.path.removeprefix("store:")

    def refused(sentence: str, *options: str) -> None:
        with pytest.raises(CommandError, match=sentence):
            call_command("restore", str(backup), *options, stdout=io.StringIO())
        assert connection.introspection.table_names() == tables

    with other_database_in_use(), folder_as_store(tmp_path / "other"):
        tables: list[str] = []
        (backup / NAME).unlink()
        refused("is no finished backup")
        (backup / NAME).write_text(json.dumps(json.loads(manifest) | {"format": 2}))
        refused("has the format 2")
        (backup / NAME).write_text("{")
        refused("manifest.json is damaged")
        newer = json.loads(manifest)
        newer["migrations"].append("annotation.0099_later")
        (backup / NAME).write_text(json.dumps(newer))
        refused(r"newer version .*annotation\.0099_later")
        (backup / NAME).write_text(manifest)

        content = copy.read_bytes()
        copy.chmod(0o600)
        copy.write_bytes(content + b"\n")
        refused(rf"1 files of the backup are damaged or missing, .*{snapshot.path}")
        copy.unlink()
        refused(rf"damaged or missing, .*{snapshot.path}")
        copy.write_bytes(content)
        dump = (backup / actions.DUMP).read_bytes()
        (backup / actions.DUMP).write_bytes(dump[:-1])
        refused("database.dump is damaged")
        (backup / actions.DUMP).write_bytes(dump)

        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE annotation_user (id int)")
        tables = ["annotation_user"]
        refused("1 tables already")
        (backup / actions.DUMP).write_bytes(dump[: len(dump) // 2])
        sha256 = hashlib.sha256(dump[: len(dump) // 2]).hexdigest()
        (backup / NAME).write_text(json.dumps(json.loads(manifest) | {"dump_sha256": sha256}))
        refused("could not be restored, and is as it was", "--replace")
        (backup / actions.DUMP).write_bytes(dump)
        (backup / NAME).write_text(manifest)
        call_command("restore", str(backup), "--replace", stdout=lines)
        assert User.objects.filter(username="alice").exists()
        assert "Run manage.py migrate" in lines.getvalue()
        call_command("restore", str(backup), "--replace", stdout=lines)
        assert MigrationRecorder(connection).applied_migrations()


def test_only_new_files_are_copied_and_old_ones_go_with_their_backups(
    folder_store: None, site: Callable[[], Project], tmp_path: Path
) -> None:
    site()
    folder, lines = tmp_path / "backups", []
    first = make_backup(folder, quiet)
    opened = Import.objects.get(name="open.jsonl")
    copy = folder / "objects" / opened.path.removeprefix("store:")
    written_at = copy.stat().st_mtime_ns
    imports.cancel(opened)
    second = make_backup(folder, lines.append)
    assert copy.stat().st_mtime_ns == written_at, "the first backup still names it"
    assert not [line for line in lines if "copied" in line]
    assert opened.path in read_manifest(first).objects
    assert opened.path not in read_manifest(second).objects
    shutil.rmtree(first)
    make_backup(folder, lines.append)
    assert "1 files deleted that no backup needs any more" in lines
    assert not copy.exists()


def test_files_that_go_away_during_a_backup_and_those_that_are_lost(
    folder_store: None, site: Callable[[], Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site()
    lines: list[str] = []
    snapshot = Snapshot.objects.get()
    removed = ModelVersion.objects.get(name="old").location
    store().delete(snapshot.path)
    store().delete(removed)
    opened = Import.objects.get(name="open.jsonl")
    copying = actions.copy_objects
    passes = []

    def copy(objects: dict[str, str], *stores: object) -> set[str]:
        passes.append(opened.path in objects)
        if len(passes) == 2:  # a snapshot has been taken that names it
            (tmp_path / "backups" / "objects" / opened.path.removeprefix("store:")).unlink()
            store().delete(opened.path)
            with psycopg.connect(**database_parameters()) as other:  # type: ignore[arg-type]
                other.execute("UPDATE annotation_import SET state = 'cancelled'")
        return copying(objects, *stores)  # type: ignore[arg-type]

    monkeypatch.setattr(actions, "copy_objects", copy)

    backup = make_backup(tmp_path / "backups", lines.append)
    manifest = read_manifest(backup)
    assert passes == [True, True, False]
    assert opened.path not in manifest.objects
    assert manifest.missing == sorted([snapshot.path, removed])
    assert any(snapshot.path in line for line in lines)


def test_an_unfinished_backup_leaves_nothing_behind(
    folder_store: None, site: Callable[[], Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site()
    folder = tmp_path / "backups"
    folder.mkdir()
    with (
        actions._locked(folder),
        pytest.raises(BackupError, match=r"Another backup into .* is under way"),
    ):
        make_backup(folder, quiet)
    monkeypatch.setattr("training.backups.postgres.shutil.which", lambda *names, **places: None)
    with pytest.raises(BackupError, match=r"There is no pg_dump of PostgreSQL .* install postgresql-client"):
        make_backup(folder, quiet)
    assert {path.name for path in folder.iterdir()} == {"lock", "objects"}
