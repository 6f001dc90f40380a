"""A cache of objects on this machine, of limited size: those that were not used for longest go first.

Several processes share it. A file appears complete, by renaming, and one that is dropped stays readable for whoever has
opened or linked it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from annotation.store.objects import place

IN_USE_S = 600.0
"""Files used within this time stay, even where the cache is too large: somebody may be about to open them."""
OUTDATED_S = 24 * 3600.0
"""Files that are still being written after this time were left by a process that died."""


class Cache:
    def __init__(self, folder: Path, limit_bytes: float) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes

    def find(self, key: str) -> Path | None:
        """The file of an object, if it is here; it counts as used now."""
        path = self.folder / key
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def reserve(self, key: str) -> Path:
        """Where the file of an object will be; its folder exists."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def adopt(self, key: str, file: Path) -> Path:
        """Take over a file whose content is that of the object; older ones make room."""
        target = self.folder / key
        place(file, target, "move", file.stat().st_size)
        os.utime(target)
        self.shrink()
        return target

    def discard(self, key: str) -> None:
        with suppress(OSError):
            (self.folder / key).unlink()

    def shrink(self) -> None:
        """Drop files, the one not used for longest first, until the rest is within the limit."""
        files = []
        for path in self.folder.rglob("*"):
            with suppress(OSError):  # another process dropped it
                stat = path.stat()
                if path.is_file():
                    files.append((stat.st_mtime, stat.st_size, path))
        now, size = time.time(), sum(size for _used, size, _path in files)
        for used, bytes, path in sorted(files):
            age = now - used
            is_partial = path.suffix == ".partial"
            if age > OUTDATED_S if is_partial else size > self.limit_bytes and age > IN_USE_S:
                with suppress(OSError):
                    path.unlink()
                    size -= bytes
