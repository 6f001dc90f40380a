"""A model's files and card as a tar archive, which is streamed without a temporary file.

It is not compressed: weights hardly become smaller.
"""

from __future__ import annotations

import tarfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from annotation.http.streaming import FILE_CHUNK
from training.errors import RunError
from training.models import ModelVersion
from training.registry.model_card import render_model_card

CONTENT_TYPE = "application/x-tar"
SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".txt"}
"""Suffixes of the files that a model is loaded from; other files of its folder are not sent."""
END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True)
class Archive:
    """An archive to stream. size: of the whole archive, in bytes."""

    folder: str
    files: list[Path]
    card: bytes
    size: int

    @property
    def name(self) -> str:
        return f"{self.folder}.tar"

    def chunks(self) -> Generator[bytes, None, None]:
        """The archive in chunks.

        Raises:
            OSError: a file became shorter since the size was computed.
        """
        yield _head(self.folder, "README.md", len(self.card)) + _padded(self.card)
        for path in self.files:
            size = path.stat().st_size
            yield _head(self.folder, path.name, size)
            remaining = size
            with path.open("rb") as file:
                while remaining and (chunk := file.read(min(FILE_CHUNK, remaining))):
                    remaining -= len(chunk)
                    yield chunk
            if remaining:
                raise OSError(f"{path} became shorter while it was sent.")
            yield bytes(-size % tarfile.BLOCKSIZE)
        yield END_OF_ARCHIVE


def build_archive(version: ModelVersion) -> Archive:
    """The archive of a model.

    Raises:
        RunError: its files are not on this server.
    """
    files = model_files(version)
    if not files:
        raise RunError("model", _("The files of %(model)s are not on this server.") % {"model": version})
    card = render_model_card(version).encode()
    sizes = [("README.md", len(card)), *((path.name, path.stat().st_size) for path in files)]
    size = sum(len(_head(version.name, name, n)) + n + -n % tarfile.BLOCKSIZE for name, n in sizes)
    return Archive(version.name, files, card, size + len(END_OF_ARCHIVE))


def model_files(version: ModelVersion) -> list[Path]:
    """The files that the model is loaded from; empty if it has no weights on this server. Links are not followed."""
    folder = Path(settings.ARTIFACTS) / version.location
    if not folder.is_dir():
        return []
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink()
    )
    return files if any(path.suffix == ".safetensors" for path in files) else []


def total_size(version: ModelVersion) -> int:
    """The size of a model's files in bytes; 0 if there is nothing to download."""
    return sum(path.stat().st_size for path in model_files(version))


def _head(folder: str, name: str, size: int) -> bytes:
    """The header of one file. Its time is left at 0, so that the same model makes the same bytes."""
    info = tarfile.TarInfo(f"{folder}/{name}")
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)
