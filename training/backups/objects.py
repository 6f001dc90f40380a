"""The objects of the store that rows name, and copying them from one store to another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from annotation.actions.snapshots import file_name
from annotation.models import Import, OpinionSet, Snapshot
from annotation.store import MissingObject, Store, WrongHash, folder_files
from training.models import ModelVersion, Run
from training.registry.actions import weight_files

PROGRESS_S = 10
HAS_FILE = (Import.State.UPLOADED, Import.State.QUEUED, Import.State.RUNNING)

Report = Callable[[str], None]


def named_objects() -> dict[str, str]:
    """The URIs of the objects that rows name, each with its name for those who download it.

    Left out is what a site lives without: exports of snapshots, which are made again, and the removed weights of models.
    """
    objects = {
        snapshot.path: file_name(snapshot.project, snapshot.number)
        for snapshot in Snapshot.objects.select_related("project")
    }
    objects |= dict.fromkeys(OpinionSet.objects.values_list("path", flat=True), "")
    objects |= dict.fromkeys(Import.objects.filter(state__in=HAS_FILE).values_list("path", flat=True), "")
    folders = set(
        ModelVersion.objects.filter(location__startswith="store:").values_list("location", flat=True)
    )
    for files in Run.objects.exclude(files={}).values_list("files", flat=True):
        folders |= {uri for kind, uri in files.items() if kind != "data"}
        objects |= {uri: "" for kind, uri in files.items() if kind == "data"}
    for folder in folders:
        objects |= _folder_objects(folder)
    for version in ModelVersion.objects.filter(removed_at__isnull=False, location__in=folders):
        with suppress(MissingObject, WrongHash):  # without the folder's manifest no file of it is known
            for file in weight_files(version):
                objects.pop(file.uri, None)
    return objects


def _folder_objects(uri: str) -> dict[str, str]:
    """The objects of a folder; its manifest alone, if that cannot be read."""
    try:
        files = folder_files(uri).values()
    except (MissingObject, WrongHash):
        return {uri: ""}
    return {uri: ""} | {file.uri: file.name.rpartition("/")[2] for file in files}


def copy_objects(objects: Mapping[str, str], source: Store, target: Store, report: Report) -> set[str]:
    """Copy the objects that `target` lacks. Returns those that `source` lacks too, or has with another content than their hash
    says.

    Raises:
        StoreError: one could not be read or written.
    """
    missing = set()
    new = [uri for uri in objects if not target.exists(uri)]
    reported_at = time.monotonic()
    for number, uri in enumerate(new, 1):
        try:
            target.put(source.path(uri), uri.removeprefix("store:").rpartition("/")[0], name=objects[uri])
        except (MissingObject, WrongHash, FileNotFoundError):  # the last: deleted while it was being copied
            missing.add(uri)
        if time.monotonic() > reported_at + PROGRESS_S:
            report(f"{number:,} of {len(new):,} files copied")
            reported_at = time.monotonic()
    if new:
        report(f"{len(new) - len(missing):,} files copied; {len(objects) - len(new):,} were there already")
    return missing
