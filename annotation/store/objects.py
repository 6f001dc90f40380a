"""Objects: their URIs, the SHA-256 that names them, and how local files become objects."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from django.utils.translation import gettext as _

from annotation.store.errors import MissingObject, StoreError, WrongHash

Transfer = Literal["copy", "link", "move"]
"""What `put` does with the file: `copy` one that may change later, `link` one that stays and never changes, `move` one that
belongs to the store from then on."""

CHUNK = 2**20
_URI = re.compile(r"store:(?P<key>(?:[\w-][\w.-]*/)+(?P<sha256>[0-9a-f]{64}))")


def uri_of(scope: str, sha256: str) -> str:
    """scope: what the object belongs to, such as `runs/12`; equal contents of two owners are two objects, so that one can be
    deleted without asking who else has it."""
    return f"store:{scope}/{sha256}"


def key_of(uri: str) -> tuple[str, str]:
    """The key of an object below the store's root, and its SHA-256."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise StoreError(_("%(uri)s is not the URI of an object of the store.") % {"uri": repr(uri)})
    return match["key"], match["sha256"]


def read_chunks(path: Path, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file, to which others may append."""
    with path.open("rb") as file:
        while size and (chunk := file.read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk


def digest(path: Path) -> tuple[str, int]:
    """The SHA-256 of a file, and the number of bytes that it is of."""
    sha256, size = hashlib.sha256(), path.stat().st_size
    for chunk in read_chunks(path, size):
        sha256.update(chunk)
    return sha256.hexdigest(), size


def place(source: Path, target: Path, transfer: Transfer, size: int) -> None:
    """Put the first `size` bytes of a file at `target`, which appears complete or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(target)
    try:
        if transfer == "move" and source.stat().st_dev == target.parent.stat().st_dev:
            source.rename(partial)
        elif transfer == "copy" or not _hard_link(source, partial):
            with partial.open("xb") as file:
                file.writelines(read_chunks(source, size))
        partial.chmod(0o444)  # whoever has the file by another name must not change it
        partial.replace(target)
        if transfer == "move":
            source.unlink(missing_ok=True)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def partial_of(target: Path) -> Path:
    """The name of a file while it is being written."""
    return target.with_name(f"{target.name[:64]}.{uuid.uuid4().hex}.partial")


def link_or_copy(source: Path, target: Path, transfer: Transfer) -> None:
    """A second name for a file that never changes, where the file system can link; else, or if `transfer` says so, a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if transfer == "copy" or not _hard_link(source, target):
        shutil.copyfile(source, target)


def _hard_link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def missing_object(uri: str, store: str) -> MissingObject:
    text = _("The object %(uri)s is not in the store %(store)s (ARTIFACT_STORE).")
    return MissingObject(text % {"uri": uri, "store": store})


def wrong_hash(uri: str, store: str) -> WrongHash:
    text = _(
        "The object %(uri)s of the store %(store)s (ARTIFACT_STORE) has another content than its SHA-256 says."
    )
    return WrongHash(text % {"uri": uri, "store": store})
