"""A model as one file: its folder, and its card, as a tar archive that is made while it is sent. It is not compressed, as
weights hardly become smaller."""

from __future__ import annotations

import tarfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from annotation.http.streaming import FILE_CHUNK
from training.errors import RunError
from training.models import ModelVersion
from training.registry.model_card import card

CONTENT_TYPE = "application/x-tar"
SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".txt"}
"""Of what a model is loaded from; what else lies in its folder is nobody's to take."""
END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True)
class Archive:
    """size: of the whole archive, in bytes, known before it is made."""

    folder: str
    files: list[Path]
    card: bytes
    size: int

    @property
    def name(self) -> str:
        return f"{self.folder}.tar"

    def chunks(self) -> Generator[bytes, None, None]:
        """The archive piece by piece. A file that has changed in size since breaks it off."""
        yield _head(self.folder, "README.md", len(self.card)) + _padded(self.card)
        for path in self.files:
            size = path.stat().st_size
            yield _head(self.folder, path.name, size)
            left = size
            with path.open("rb") as file:
                while left and (chunk := file.read(min(FILE_CHUNK, left))):
                    left -= len(chunk)
                    yield chunk
            if left:
                raise OSError(f"{path} became shorter while it was sent.")
            yield bytes(-size % tarfile.BLOCKSIZE)
        yield END


def archive(version: ModelVersion) -> Archive:
    """
    Raises:
        RunError: its files are not on this server.
    """
    files = files_of(version)
    if not files:
        raise RunError("model", f"The files of {version} are not on this server.")
    text = card(version).encode()
    sizes = [("README.md", len(text)), *((path.name, path.stat().st_size) for path in files)]
    size = sum(len(_head(version.name, name, n)) + n + -n % tarfile.BLOCKSIZE for name, n in sizes)
    return Archive(version.name, files, text, size + len(END))


def files_of(version: ModelVersion) -> list[Path]:
    """What the model is loaded from; empty where it has no weights in a folder here. Links are not followed."""
    folder = Path(settings.ARTIFACTS) / version.location
    if not folder.is_dir():
        return []
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink()
    )
    return files if any(path.suffix == ".safetensors" for path in files) else []


def size_of(version: ModelVersion) -> int:
    """Bytes of its files; 0 where there is nothing to download."""
    return sum(path.stat().st_size for path in files_of(version))


def _head(folder: str, name: str, size: int) -> bytes:
    """The header of one file. Its time is left at 0, so that the same model makes the same bytes."""
    info = tarfile.TarInfo(f"{folder}/{name}")
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)
