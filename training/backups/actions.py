"""Making a backup and restoring it."""

from __future__ import annotations

import fcntl
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from annotation.store import FileStore, digest, store
from training.backups.errors import BackupError
from training.backups.manifest import NAME, Manifest, read_manifest
from training.backups.objects import Report, copy_objects, named_objects
from training.backups.postgres import dump_database, restore_database

DUMP = "database.dump"
OBJECTS = "objects"


def make_backup(folder: Path, report: Report) -> Path:
    """Back up the database and the objects that its rows name, into a new folder below `folder`, which is returned. Backups of
    one folder share their objects: only new ones are copied, and those that no backup names any more are deleted.

    No row of a backup names an object that it lacks. Objects never change, so a copy of any time is the right one; but some are
    deleted, such as a checkpoint that the next one replaced. So the database is dumped as one snapshot shows it, whose objects
    have all been copied before; if one was deleted meanwhile, the snapshot is taken again.

    Raises:
        BackupError: the database could not be dumped, or another backup into the folder is under way.
        StoreError: an object could not be read or written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder):
        copies = FileStore(folder / OBJECTS)
        # most of the work, before a snapshot keeps the database from cleaning up
        missing = copy_objects(named_objects(), store(), copies, report)
        while True:
            with _exported_snapshot() as snapshot_id:
                objects = named_objects()
                missing_before, missing = missing, copy_objects(objects, store(), copies, report)
                # what is missing twice was not deleted meanwhile: the site has lost it
                if missing <= missing_before:
                    backup = _dump(folder, snapshot_id, objects, missing, report)
                    break
        _delete_unnamed(folder, report)
    for uri in sorted(missing):
        report(f"Not in the backup, because it is missing or damaged in the store: {uri}")
    return backup


def restore_backup(backup: Path, report: Report, *, replace: bool = False) -> Manifest:
    """Restore a backup into this site's database and store. replace: what is in the database may be deleted.

    Everything is checked before the database changes, which it does in one transaction.

    Raises:
        BackupError: the backup is unfinished, damaged or of a newer version, or the database is not empty.
        StoreError: an object could not be written.
    """
    manifest = read_manifest(backup)
    if newer := set(manifest.migrations) - _known_migrations():
        raise BackupError(
            f"The backup is of a newer version ({manifest.version} {manifest.release}): this one lacks the migration"
            f" {min(newer)}."
        )
    if not replace and (tables := connection.introspection.table_names()):
        raise BackupError(
            f"The database has {len(tables)} tables already. With --replace they are deleted, with all that is in them."
        )
    if digest(backup / DUMP)[0] != manifest.dump_sha256:
        raise BackupError(f"{backup / DUMP} is damaged: its SHA-256 is not that of the manifest.")
    copies = FileStore(backup.parent / OBJECTS)
    expected = {uri: name for uri, name in manifest.objects.items() if uri not in manifest.missing}
    if damaged := copy_objects(expected, copies, store(), report):
        raise BackupError(
            f"{len(damaged)} files of the backup are damaged or missing, the first of them is {min(damaged)} below"
            f" {copies}. The database is as it was."
        )
    report("Restoring the database")
    connection.close()
    restore_database(backup / DUMP)
    if (rows := _count_rows()) != manifest.rows:
        tables = [name for name in rows | manifest.rows if rows.get(name) != manifest.rows.get(name)]
        raise BackupError(f"The database was restored with other numbers of rows: {', '.join(tables)}.")
    for uri in manifest.missing:
        report(f"Not in the backup: {uri}")
    cache.clear()  # statistics and sessions of what was there before
    return manifest


def _dump(folder: Path, snapshot_id: str, objects: dict[str, str], missing: set[str], report: Report) -> Path:
    """Dump the database, whose snapshot is this transaction's, and write the manifest."""
    now = timezone.now()
    backup = folder / now.strftime("%Y-%m-%dT%H-%M-%S-%f")
    backup.mkdir()
    try:
        report("Dumping the database")
        dump_database(backup / DUMP, snapshot_id)
        project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
        Manifest(
            version=project["version"],
            release=settings.RELEASE,
            created_at=now.isoformat(),
            migrations=sorted(map(".".join, MigrationRecorder(connection).applied_migrations())),
            rows=_count_rows(),
            dump_sha256=digest(backup / DUMP)[0],
            objects=objects,
            missing=sorted(missing),
        ).write(backup)
    except BaseException:
        shutil.rmtree(backup)
        raise
    return backup


@contextmanager
def _exported_snapshot() -> Iterator[str]:
    """A transaction that sees the database as it is now, and the id by which pg_dump sees the same."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_export_snapshot()")
        yield cursor.fetchone()[0]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Another backup into {folder} is under way.") from None
        yield


def _count_rows() -> dict[str, int]:
    """Numbers of rows by table."""
    counts = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}"')
            counts[table] = cursor.fetchone()[0]
    return counts


def _known_migrations() -> set[str]:
    """Those of this version, also where one has replaced several."""
    loader = MigrationLoader(None)
    replaced = {key for migration in loader.replacements.values() for key in migration.replaces}
    return set(map(".".join, {*loader.disk_migrations, *replaced}))


def _delete_unnamed(folder: Path, report: Report) -> None:
    """Delete the objects that no finished backup of the folder names."""
    manifests = [read_manifest(path.parent) for path in folder.glob(f"*/{NAME}")]
    named = {uri.removeprefix("store:") for manifest in manifests for uri in manifest.objects}
    objects = folder / OBJECTS
    unnamed = [
        path for path in objects.rglob("*") if path.is_file() and str(path.relative_to(objects)) not in named
    ]
    for path in unnamed:
        path.unlink()
    if unnamed:
        report(f"{len(unnamed):,} files deleted that no backup needs any more")
