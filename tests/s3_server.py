"""An S3 server for tests: moto's, as a process of its own that is asked over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

from django.test import override_settings

from annotation.store import stores
from tests.processes import free_port, kill, until

BUCKET = "palate"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


class S3Server:
    """The server. `environment`: what a process needs to use its bucket."""

    def __init__(self, **settings: str) -> None:
        self.settings = settings
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = KEYS | {"AWS_ENDPOINT_URL": self.url}
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            env=os.environ | self.settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(self._has_bucket, "the S3 server answers")

    def stop(self) -> None:
        kill(self.process)

    def _has_bucket(self) -> bool:
        request = urllib.request.Request(f"{self.url}/{BUCKET}", method="PUT")
        with suppress(OSError):
            urllib.request.urlopen(request, timeout=30).close()
            return True
        return False


@contextmanager
def bucket_as_store(server: S3Server, artifacts: Path, prefix: str) -> Iterator[None]:
    """The settings of a machine whose store is the bucket: `artifacts` is its own folder."""
    url = f"s3://{BUCKET}/{prefix}"
    with (
        patch.dict(os.environ, server.environment),
        override_settings(ARTIFACTS=artifacts, ARTIFACT_STORE=url),
    ):
        stores._store.cache_clear()
        yield
    stores._store.cache_clear()


@contextmanager
def s3_server(**settings: str) -> Iterator[S3Server]:
    """settings: of moto's server, variables of its environment."""
    server = S3Server(**settings)
    try:
        yield server
    finally:
        server.stop()
