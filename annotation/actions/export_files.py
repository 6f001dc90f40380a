"""Export files of snapshots, made when they are first downloaded and put into the store: every web machine sends the same file,
and an interrupted download can be resumed.

They can be made again byte for byte, so those not downloaded for a day are deleted.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from annotation.actions.snapshots import snapshot_path
from annotation.exports import stream
from annotation.exports.dataset_card import render_readme
from annotation.exports.formats import FORMATS
from annotation.exports.selection import SPLITS, Selection
from annotation.models import ExportFile, Snapshot
from annotation.store import StoreError, scratch_file, store

VERSION = 2
"""Of the formats: increase it when one changes, so that no download is resumed with other bytes."""
UNUSED_FOR = timedelta(days=1)
"""Files that were not downloaded for this long are deleted."""
HUB_FORMATS = ("trl", "rankings", "kto", "sft", "raw")


def etag(snapshot: Snapshot, selection: Selection) -> str:
    """A hash of the snapshot, the selection and the formats' version: equal for equal bytes."""
    key = json.dumps([VERSION, snapshot.sha256, selection.values()], sort_keys=True, default=str)
    return f'"{hashlib.sha256(key.encode()).hexdigest()[:40]}"'


def export_file(snapshot: Snapshot, selection: Selection) -> str:
    """The URI of the export's file, which is made if the store does not have it.

    Raises:
        StoreError: it could not be written, or the store is not available.
    """
    if selection.is_whole_snapshot and selection.file == "jsonl":
        return snapshot.path

    def write(target: Path) -> None:
        with target.open("wb") as file:
            file.writelines(stream.export_snapshot(snapshot_path(snapshot), selection))

    return _stored(snapshot, etag(snapshot, selection), export_name(snapshot, selection), write)


def hub_zip(snapshot: Snapshot) -> str:
    """The URI of a zip archive of a folder for the Hugging Face hub: the card as README.md, the manifest, and Parquet files by
    format and split, which `datasets.load_dataset(folder)` opens.

    Raises:
        StoreError: it could not be written, or the store is not available.
    """

    def write(target: Path) -> None:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            _write_hub_archive(archive, snapshot)

    return _stored(snapshot, hub_etag(snapshot), f"{hub_name(snapshot)}.zip", write)


def hub_etag(snapshot: Snapshot) -> str:
    return f'"hub-{VERSION}-{snapshot.pk}-{snapshot.sha256[:24]}"'


def export_name(snapshot: Snapshot, selection: Selection) -> str:
    return f"{hub_name(snapshot)}-{selection.format}.{selection.file}"


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


def _stored(snapshot: Snapshot, etag: str, name: str, write: Callable[[Path], None]) -> str:
    """The URI of the file of this ETag, which `write` writes if the store does not have it."""
    key = etag.strip('"')
    now = timezone.now()
    stored = snapshot.export_files.filter(key=key).first()
    if stored is not None and store().exists(stored.uri):
        uri = stored.uri
    else:
        _delete_unused()
        with scratch_file() as target:
            try:
                write(target)
            except StoreError:
                raise
            except OSError as error:
                text = _("The file could not be written: %(reason)s (%(path)s).")
                raise StoreError(text % {"reason": error.strerror, "path": target}) from error
            uri = store().put(target, f"exports/{snapshot.pk}/{key}", transfer="move", name=name)
    ExportFile.objects.update_or_create(snapshot=snapshot, key=key, defaults={"uri": uri, "used_at": now})
    return uri


def _delete_unused() -> None:
    for file in ExportFile.objects.filter(used_at__lt=timezone.now() - UNUSED_FOR):
        with suppress(StoreError):  # the next time, then: nobody waits for it
            store().delete(file.uri)
            file.delete()
