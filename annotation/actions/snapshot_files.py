"""Files made from snapshots, kept so that a download can go on where it broke off.

They can be made again at any time, byte for byte, so those that nobody asked for lately make room for new ones.
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

from annotation.actions.snapshots import FreezeError, file_of
from annotation.exports import stream
from annotation.exports.dataset_card import readme
from annotation.exports.selection import SPLITS, Selection
from annotation.models import Snapshot

VERSION = 1
"""Of what formats look like: raise it where one changes, so that no download goes on in another's bytes."""
KEPT_SECONDS = 24 * 3600
HUB_FORMATS = ("trl", "rankings", "kto", "sft", "raw")


def etag(snapshot: Snapshot, selection: Selection) -> str:
    """The same for the same bytes: of the snapshot, the selection and the formats' version."""
    what = json.dumps([VERSION, snapshot.sha256, selection.values()], sort_keys=True, default=str)
    return f'"{hashlib.sha256(what.encode()).hexdigest()[:40]}"'


def export_file(snapshot: Snapshot, selection: Selection) -> Path:
    """The export as a file, made now where it is not there yet.

    Raises:
        FreezeError: the disk refused it.
    """
    if selection.is_everything and selection.file == "jsonl":
        return file_of(snapshot)
    target = _folder() / f"{etag(snapshot, selection).strip(chr(34))}.{selection.file}"
    if not target.exists():
        with _new(target) as partial, partial.open("wb") as file:
            for chunk in stream.frozen(file_of(snapshot), selection):
                file.write(chunk)
    return _used(target)


def hub_zip(snapshot: Snapshot) -> Path:
    """A folder for the hub, zipped: the card as README.md, the manifest, and Parquet files by format and split, which
    `datasets.load_dataset(folder)` opens.

    Raises:
        FreezeError: the disk refused it.
    """
    target = _folder() / f"{snapshot.sha256[:32]}-{snapshot.pk}-{VERSION}.zip"
    if not target.exists():
        with _new(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            _fill(archive, snapshot)
    return _used(target)


def hub_name(snapshot: Snapshot) -> str:
    return f"{snapshot.project.slug}-{snapshot.number}"


def _fill(archive: zipfile.ZipFile, snapshot: Snapshot) -> None:
    name = hub_name(snapshot)
    configs: dict[str, list[str]] = {}
    for format in HUB_FORMATS:
        for split in SPLITS:
            chunks = stream.frozen(
                file_of(snapshot), Selection.of({"format": format, "split": split, "file": "jsonl"})
            )
            if next(chunks, None) is None:
                continue  # `datasets` cannot read a split without rows
            chunks.close()
            selection = Selection.of({"format": format, "split": split, "file": "parquet"})
            file = {"train": "train", "held_out": "test"}[split]
            with archive.open(_entry(f"{name}/data/{format}/{file}.parquet"), "w", force_zip64=True) as entry:
                for chunk in stream.frozen(file_of(snapshot), selection):
                    entry.write(chunk)
            configs.setdefault(format, []).append(split)
    manifest: dict[str, Any] = snapshot.manifest
    archive.writestr(_entry(f"{name}/README.md"), readme(manifest, configs))
    archive.writestr(
        _entry(f"{name}/manifest.json"), json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    )


def _entry(name: str) -> zipfile.ZipInfo:
    """Without the time of day, so that two of the same snapshot are the same bytes."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    return entry


def _folder() -> Path:
    return Path(settings.ARTIFACTS) / "exports"


@contextmanager
def _new(target: Path) -> Iterator[Path]:
    """A file beside `target`, which becomes it when it is whole."""
    partial = target.with_name(f"{uuid.uuid4().hex}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _make_room(target.parent)
        yield partial
        partial.rename(target)
    except OSError as error:
        raise FreezeError(f"The file could not be written: {error.strerror} ({target}).") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _make_room(folder: Path) -> None:
    old = time.time() - KEPT_SECONDS
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < old:
                path.unlink()


def _used(path: Path) -> Path:
    with suppress(OSError):
        os.utime(path)
    return path
