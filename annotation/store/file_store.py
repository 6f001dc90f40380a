"""The store as a folder: objects are used in place, and files become objects by hard links where they can."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from django.utils.translation import gettext as _

from annotation.store.errors import StoreError, as_store_errors
from annotation.store.objects import (
    Transfer,
    digest,
    key_of,
    link_or_copy,
    missing_object,
    place,
    read_chunks,
    uri_of,
    wrong_hash,
)

_checked: set[tuple[str, int, int]] = set()
"""Objects whose hash this process has checked: path, time of change and size."""


class FileStore:
    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def put(self, file: Path, scope: str, *, transfer: Transfer = "copy", name: str = "") -> str:
        """Store a file as an object of `scope`, unless it is there already. Returns its URI.

        Raises:
            StoreError: it could not be written.
        """
        sha256, size = digest(file)
        uri = uri_of(scope, sha256)
        target = self.root / key_of(uri)[0]
        with self._errors(uri):
            if not target.is_file() or target.stat().st_size != size:
                place(file, target, transfer, size)
                _checked.add(_state(target))
            elif transfer == "move":
                file.unlink()
        return uri

    def exists(self, uri: str) -> bool:
        """Whether there is the object; its content is not looked at."""
        return (self.root / key_of(uri)[0]).is_file()

    def path(self, uri: str) -> Path:
        """The object as a file, in place. Its hash is checked once by each process.

        Raises:
            MissingObject, WrongHash, StoreError
        """
        key, sha256 = key_of(uri)
        path = self.root / key
        with self._errors(uri):
            state = _state(path)
            if state not in _checked:
                if digest(path)[0] != sha256:
                    raise wrong_hash(uri, str(self))
                _checked.add(state)
        return path

    def get(self, uri: str, target: Path, transfer: Transfer = "link") -> None:
        """Put the object at `target`, as a hard link where that can be, or a copy.

        Raises:
            MissingObject, WrongHash, StoreError
        """
        path = self.path(uri)
        with self._errors(uri):
            link_or_copy(path, target, transfer)

    def chunks(self, uri: str) -> Iterator[bytes]:
        """The object's content.

        Raises:
            MissingObject, WrongHash, StoreError
        """
        path = self.path(uri)
        with self._errors(uri):
            yield from read_chunks(path, path.stat().st_size)

    def link(self, uri: str) -> str:
        """An empty text: browsers cannot read the folder."""
        return ""

    def delete(self, uri: str) -> None:
        with self._errors(uri):
            (self.root / key_of(uri)[0]).unlink(missing_ok=True)

    def delete_scope(self, scope: str) -> None:
        """Delete all objects of a scope."""
        shutil.rmtree(self.root / scope, ignore_errors=True)

    def _errors(self, uri: str) -> AbstractContextManager[None]:
        return as_store_errors(partial(self._explain, uri))

    def _explain(self, uri: str, error: Exception) -> StoreError | None:
        if isinstance(error, FileNotFoundError):
            return missing_object(uri, str(self))
        if not isinstance(error, OSError):
            return None
        text = _("The store %(store)s (ARTIFACT_STORE) cannot be used: %(reason)s.")
        return StoreError(text % {"store": self, "reason": error.strerror})


def _state(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path), stat.st_mtime_ns, stat.st_size
