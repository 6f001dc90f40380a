"""Folders in the store: each file is an object, and so is the manifest that names them."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from django.utils.translation import gettext as _

from annotation.store.errors import MissingObject
from annotation.store.objects import Transfer, key_of, partial_of, uri_of
from annotation.store.stores import store


class StoredFile(NamedTuple):
    """A file of a folder, by its path within it. size: in bytes."""

    name: str
    uri: str
    size: int


def put_folder(folder: Path, scope: str, transfer: Transfer = "link") -> str:
    """Store a folder's files, links left out, and their manifest. Returns the manifest's URI.

    Raises:
        StoreError: one could not be written.
    """
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            uri = store().put(path, scope, transfer=transfer, name=path.name)
            files.append(
                {
                    "name": path.relative_to(folder).as_posix(),
                    "sha256": key_of(uri)[1],
                    "size": path.stat().st_size,
                }
            )
    with tempfile.NamedTemporaryFile() as manifest:
        manifest.write(json.dumps({"files": files}, sort_keys=True).encode())
        manifest.flush()
        return store().put(Path(manifest.name), scope)


def folder_files(uri: str) -> dict[str, StoredFile]:
    """The files of a folder by name. uri: the manifest's.

    Raises:
        MissingObject, WrongHash, StoreError
    """
    scope = uri.removeprefix("store:").rpartition("/")[0]
    files = json.loads(store().path(uri).read_bytes())["files"]
    return {
        file["name"]: StoredFile(file["name"], uri_of(scope, file["sha256"]), file["size"]) for file in files
    }


def folder_file(uri: str, name: str) -> Path:
    """One file of a folder, as a file of this machine.

    Raises:
        MissingObject, WrongHash, StoreError
    """
    files = folder_files(uri)
    if name not in files:
        raise MissingObject(_("There is no %(name)s in the folder %(uri)s.") % {"name": name, "uri": uri})
    return store().path(files[name].uri)


def get_folder(uri: str, target: Path, transfer: Transfer = "link") -> None:
    """Put a folder at `target`, where it appears complete and replaces what was there. transfer: `copy` if its files will be
    written to.

    Raises:
        MissingObject, WrongHash, StoreError
    """
    partial = partial_of(target)
    partial.mkdir(parents=True)
    try:
        for file in folder_files(uri).values():
            store().get(file.uri, partial / file.name, transfer=transfer)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
