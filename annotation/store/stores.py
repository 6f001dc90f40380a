"""The store of this site, by its settings."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from annotation.store.cache import Cache
from annotation.store.file_store import FileStore
from annotation.store.s3_store import S3Store

Store = FileStore | S3Store


def store() -> Store:
    """A folder below ARTIFACTS, or what ARTIFACT_STORE names."""
    return _store(settings.ARTIFACT_STORE, Path(settings.ARTIFACTS), settings.ARTIFACT_CACHE_GB)


def holds_job_folders() -> bool:
    """Whether the store and the job folders of all workers are in one place, so that a worker finds what another has left in
    its job folder."""
    return not settings.ARTIFACT_STORE


@contextmanager
def scratch_file() -> Iterator[Path]:
    """A path below ARTIFACTS for a file that is being written; deleted at the end, unless it became an object."""
    path = Path(settings.ARTIFACTS) / "tmp" / uuid.uuid4().hex
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink()


@lru_cache(maxsize=4)
def _store(url: str, artifacts: Path, cache_gb: float) -> Store:
    if url.startswith("s3://"):
        cache = Cache(artifacts / "cache", cache_gb * 2**30)
        return S3Store(url, cache, os.environ.get("AWS_ENDPOINT_URL", ""))
    return FileStore(Path(url.removeprefix("file://")) if url else artifacts / "store")
