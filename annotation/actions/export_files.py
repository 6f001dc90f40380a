"""Cached export files of snapshots, so that an interrupted download can be resumed.

They can be made again byte for byte, so those not downloaded for a day are deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from annotation.actions.snapshots import SnapshotError, snapshot_path
from annotation.exports import stream
from annotation.exports.dataset_card import render_readme
from annotation.exports.formats import FORMATS
from annotation.exports.selection import SPLITS, Selection
from annotation.models import Snapshot

VERSION = 2
"""Of the formats: increase it when one changes, so that no download is resumed with other bytes."""
CACHE_SECONDS = 24 * 3600
HUB_FORMATS = ("trl", "rankings", "kto", "sft", "raw")


def etag(snapshot: Snapshot, selection: Selection) -> str:
    """A hash of the snapshot, the selection and the formats' version: equal for equal bytes."""
    key = json.dumps([VERSION, snapshot.sha256, selection.values()], sort_keys=True, default=str)
    return f'"{hashlib.sha256(key.encode()).hexdigest()[:40]}"'


def export_file(snapshot: Snapshot, selection: Selection) -> Path:
    """The path of the export's file, which is made if it is not cached.

    Raises:
        SnapshotError: it could not be written.
    """
    if selection.is_whole_snapshot and selection.file == "jsonl":
        return snapshot_path(snapshot)
    target = _folder() / f"{etag(snapshot, selection).strip(chr(34))}.{selection.file}"
    if not target.exists():
        with _create_file(target) as partial, partial.open("wb") as file:
            for chunk in stream.export_snapshot(snapshot_path(snapshot), selection):
                file.write(chunk)
    return _touch(target)


def hub_zip(snapshot: Snapshot) -> Path:
    """A zip archive of a folder for the Hugging Face hub: the card as README.md, the manifest, and Parquet files by format and
    split, which `datasets.load_dataset(folder)` opens.

    Raises:
        SnapshotError: it could not be written.
    """
    target = _folder() / f"{snapshot.sha256[:32]}-{snapshot.pk}-{VERSION}.zip"
    if not target.exists():
        with _create_file(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            _write_hub_archive(archive, snapshot)
    return _touch(target)


def hub_name(snapshot: Snapshot) -> str:
    return f"{snapshot.project.slug}-{snapshot.number}"


def _write_hub_archive(archive: zipfile.ZipFile, snapshot: Snapshot) -> None:
    name = hub_name(snapshot)
    configs: dict[str, list[str]] = {}
    for config, parameters in _hub_configs(snapshot).items():
        for split in SPLITS:
            chunks = stream.export_snapshot(
                snapshot_path(snapshot),
                Selection.from_parameters(parameters | {"split": split, "file": "jsonl"}),
            )
            if next(chunks, None) is None:
                continue  # `datasets` cannot read a split without rows
            chunks.close()
            selection = Selection.from_parameters(parameters | {"split": split, "file": "parquet"})
            file = {"train": "train", "held_out": "test"}[split]
            with archive.open(
                _zip_entry(f"{name}/data/{config}/{file}.parquet"), "w", force_zip64=True
            ) as entry:
                for chunk in stream.export_snapshot(snapshot_path(snapshot), selection):
                    entry.write(chunk)
            configs.setdefault(config, []).append(split)
    manifest: dict[str, Any] = snapshot.manifest
    archive.writestr(_zip_entry(f"{name}/README.md"), render_readme(manifest, configs))
    archive.writestr(
        _zip_entry(f"{name}/manifest.json"),
        json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False),
    )


def _hub_configs(snapshot: Snapshot) -> dict[str, dict[str, str]]:
    """The parameters of each export in the archive; imported judgments have exports of their own."""
    configs = {format: {"format": format} for format in HUB_FORMATS}
    if snapshot.counts.get("imported"):
        for format in HUB_FORMATS:
            if FORMATS[format].for_training:
                configs[f"{format}-imported"] = {"format": format, "imported": "only"}
    return configs


def _zip_entry(name: str) -> zipfile.ZipInfo:
    """An entry with a fixed time, so that archives of the same snapshot are the same bytes."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    return entry


def _folder() -> Path:
    return Path(settings.ARTIFACTS) / "exports"


@contextmanager
def _create_file(target: Path) -> Iterator[Path]:
    """A temporary file, renamed to `target` when it is complete."""
    partial = target.with_name(f"{uuid.uuid4().hex}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _delete_expired(target.parent)
        yield partial
        partial.rename(target)
    except OSError as error:
        text = _("The file could not be written: %(reason)s (%(path)s).")
        raise SnapshotError(text % {"reason": error.strerror, "path": target}) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _delete_expired(folder: Path) -> None:
    old = time.time() - CACHE_SECONDS
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < old:
                path.unlink()


def _touch(path: Path) -> Path:
    with suppress(OSError):
        os.utime(path)
    return path
