"""A model's files and card as a tar archive, which is streamed without a temporary file; or one of the files.

It is not compressed: weights hardly become smaller.
"""

from __future__ import annotations

import tarfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from django.http import HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from annotation.http.streaming import stream_response
from annotation.store import StoreError, store
from training.errors import RunError
from training.models import ModelVersion
from training.registry.model_card import render_model_card
from training.registry.model_sources import ModelFile, model_files

CONTENT_TYPE = "application/x-tar"
SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".txt"}
"""Suffixes of the files that a model is loaded from; other files of its folder are not sent."""
END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True)
class Archive:
    """An archive to stream. size: of the whole archive, in bytes."""

    folder: str
    files: list[ModelFile]
    card: bytes
    size: int

    @property
    def name(self) -> str:
        return f"{self.folder}.tar"

    def chunks(self) -> Generator[bytes, None, None]:
        """The archive in chunks.

        Raises:
            OSError: a file became shorter since the size was computed, or the store is not available.
        """
        yield _head(self.folder, "README.md", len(self.card)) + _padded(self.card)
        for file in self.files:
            yield _head(self.folder, file.name, file.size)
            remaining = file.size
            for chunk in file.chunks():
                remaining -= len(chunk)
                yield chunk
            if remaining:
                raise OSError(f"{file.name} became shorter while it was sent.")
            yield bytes(-file.size % tarfile.BLOCKSIZE)
        yield END_OF_ARCHIVE


def send_model(version: ModelVersion, name: str = "") -> HttpResponseBase:
    """The archive of a model, or one of its files: by a link to the store, where that has links.

    Raises:
        RunError: its files are not on this server, or it has no file of that name.
        StoreError: the store does not have them, or is not available.
    """
    if not name:
        archive = build_archive(version)
        return stream_response(
            archive.chunks(), content_type=CONTENT_TYPE, name=archive.name, size=archive.size
        )
    file = {file.name: file for file in loadable_files(version)}.get(name)
    if file is None:
        text = _("%(model)s has no file %(name)s on this server.")
        raise RunError("model", text % {"model": version, "name": repr(name[:80])})
    if file.uri and (link := store().link(file.uri)):
        return HttpResponseRedirect(link)
    content = (chunk for chunk in file.chunks())
    return stream_response(content, content_type="application/octet-stream", name=file.name, size=file.size)


def build_archive(version: ModelVersion) -> Archive:
    """The archive of a model.

    Raises:
        RunError: its files are not on this server.
        StoreError: the store does not have them, or is not available.
    """
    files = loadable_files(version)
    if not files:
        raise RunError("model", _("The files of %(model)s are not on this server.") % {"model": version})
    card = render_model_card(version).encode()
    sizes = [("README.md", len(card)), *((file.name, file.size) for file in files)]
    size = sum(len(_head(version.name, name, n)) + n + -n % tarfile.BLOCKSIZE for name, n in sizes)
    return Archive(version.name, files, card, size + len(END_OF_ARCHIVE))


def loadable_files(version: ModelVersion) -> list[ModelFile]:
    """The files that the model is loaded from; empty if it has no weights on this server.

    Raises:
        StoreError: the store does not have them, or is not available.
    """
    if version.removed_at:
        return []
    files = [
        file
        for name, file in model_files(version.location).items()
        if Path(name).suffix in SUFFIXES and "/" not in name
    ]
    return files if any(file.name.endswith(".safetensors") for file in files) else []


def available_files(version: ModelVersion) -> list[ModelFile]:
    """The files that can be downloaded now; empty if there are none, or the store is not available."""
    try:
        return loadable_files(version)
    except StoreError:
        return []


def _head(folder: str, name: str, size: int) -> bytes:
    """The header of one file. Its time is left at 0, so that the same model makes the same bytes."""
    info = tarfile.TarInfo(f"{folder}/{name}")
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)
