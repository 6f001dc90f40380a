"""The store as a bucket of S3 or of a server that speaks its protocol. Objects are read through a cache on this machine.

Keys, region and endpoint are the usual variables of the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import obstore
from django.utils.translation import gettext as _
from obstore import exceptions

from annotation.store.cache import Cache
from annotation.store.errors import StoreError, as_store_errors
from annotation.store.objects import (
    CHUNK,
    Transfer,
    digest,
    key_of,
    link_or_copy,
    missing_object,
    partial_of,
    read_chunks,
    uri_of,
    wrong_hash,
)

PART = 16 * 2**20
"""Of an upload, in bytes: S3 takes 10,000 of them."""
LINK_LIFETIME = timedelta(minutes=15)
NOT_FOUND = (exceptions.NotFoundError, FileNotFoundError)  # obstore raises the one or the other
REFUSED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError)
ANSWER = re.compile(r"status code: (?P<status>\d{3})(?:.*?<Code>(?P<code>\w+)</Code>)?", re.DOTALL)
"""What the server answered, in the text of an error of obstore."""
FULL = re.compile("quota|storage_?full|insufficient_?(storage|capacity|space)|cap_exceeded", re.IGNORECASE)
"""In the codes with which servers refuse an upload for which there is no room, also with the status 403."""
UPLOADS = 4
"""Parts that are on their way at a time."""
TIMEOUTS = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "24h"}
"""A server that is silent for a minute counts as away; the whole of a large object may take long."""
RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}


class S3Store:
    def __init__(self, url: str, cache: Cache, endpoint: str = "") -> None:
        self.url, self.cache = url, cache
        self.client = obstore.store.S3Store.from_url(
            url,
            client_options={"allow_http": endpoint.startswith("http://"), **TIMEOUTS},  # type: ignore[arg-type]
            retry_config=RETRIES,  # type: ignore[arg-type]
        )

    def __str__(self) -> str:
        return self.url

    def put(self, file: Path, scope: str, *, transfer: Transfer = "copy", name: str = "") -> str:
        """Upload a file as an object of `scope`, unless it is there already. Returns its URI.

        name: the file's name for those who download it by `link`.

        Raises:
            StoreError: it could not be uploaded.
        """
        sha256, size = digest(file)
        uri = uri_of(scope, sha256)
        key = key_of(uri)[0]
        with self._errors(uri):
            if self._size(key) != size:
                content = read_chunks(file, size) if size > PART else b"".join(read_chunks(file, size))
                attributes = {"Content-Disposition": f'attachment; filename="{name}"'} if name else None
                obstore.put(
                    self.client, key, content, chunk_size=PART, max_concurrency=UPLOADS, attributes=attributes
                )
            if transfer == "move":
                self.cache.adopt(key, file)
        return uri

    def exists(self, uri: str) -> bool:
        """Whether there is the object; its content is not looked at.

        Raises:
            StoreError
        """
        with self._errors(uri):
            return self._size(key_of(uri)[0]) is not None

    def path(self, uri: str) -> Path:
        """The object as a file of the cache, which has it for a while at least.

        Raises:
            MissingObject, WrongHash, StoreError
        """
        key, _sha256 = key_of(uri)
        return self.cache.find(key) or self._download(uri, key)

    def get(self, uri: str, target: Path, transfer: Transfer = "link") -> None:
        """Put the object at `target`: a hard link to the cache's file, which stays when the cache drops it, or a copy.

        Raises:
            MissingObject, WrongHash, StoreError
        """
        link_or_copy(self.path(uri), target, transfer)

    def chunks(self, uri: str) -> Iterator[bytes]:
        """The object's content as it arrives, past the cache.

        Raises:
            MissingObject, StoreError, and WrongHash after the last chunk
        """
        key, sha256 = key_of(uri)
        received = hashlib.sha256()
        with self._errors(uri):
            for chunk in obstore.get(self.client, key).stream(min_chunk_size=CHUNK):
                received.update(chunk)
                yield bytes(chunk)
        if received.hexdigest() != sha256:
            raise wrong_hash(uri, str(self))

    def link(self, uri: str) -> str:
        """A presigned URL, from which anybody who has it can download the object for a quarter of an hour.

        Raises:
            MissingObject, StoreError: the bucket would say so to people as XML.
        """
        key = key_of(uri)[0]
        with self._errors(uri):
            obstore.head(self.client, key)
            return obstore.sign(self.client, "GET", key, LINK_LIFETIME)

    def delete(self, uri: str) -> None:
        key = key_of(uri)[0]
        with self._errors(uri), suppress(*NOT_FOUND):
            obstore.delete(self.client, key)
        self.cache.discard(key)

    def delete_scope(self, scope: str) -> None:
        """Delete all objects of a scope."""
        with self._errors(scope):
            for objects in obstore.list(self.client, prefix=scope):
                obstore.delete(self.client, [entry["path"] for entry in objects])

    def _size(self, key: str) -> int | None:
        try:
            return obstore.head(self.client, key)["size"]
        except NOT_FOUND:
            return None

    def _download(self, uri: str, key: str) -> Path:
        with self._errors(uri):
            unfinished = partial_of(self.cache.reserve(key))
            try:
                with unfinished.open("xb") as file:
                    file.writelines(self.chunks(uri))
                return self.cache.adopt(key, unfinished)
            finally:
                unfinished.unlink(missing_ok=True)

    def _errors(self, uri: str) -> AbstractContextManager[None]:
        return as_store_errors(partial(self._explain, uri))

    def _explain(self, uri: str, error: Exception) -> StoreError | None:
        answer = ANSWER.search(str(error))
        status, code = (answer["status"], answer["code"] or "") if answer else ("", "")
        values = {"store": self, "answer": f"{status} {code}".strip()}
        if status == "507" or FULL.search(code):
            text = _(
                "The store %(store)s (ARTIFACT_STORE) is full: make room, or raise its quota (%(answer)s)."
            )
        elif code == "NoSuchBucket":
            text = _("There is no bucket of the store %(store)s (ARTIFACT_STORE).")
        elif isinstance(error, NOT_FOUND):
            return missing_object(uri, str(self))
        elif isinstance(error, REFUSED):
            text = _(
                "The store %(store)s (ARTIFACT_STORE) refuses access: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what"
                " they may do (%(answer)s)."
            )
        elif isinstance(error, exceptions.BaseError):
            values["answer"] = values["answer"] or str(error).strip().splitlines()[0]
            text = _("The store %(store)s (ARTIFACT_STORE, AWS_ENDPOINT_URL) is not available: %(answer)s.")
        elif isinstance(error, OSError):
            values |= {"store": self.cache.folder, "answer": error.strerror or str(error)}
            text = _("The cache of the store, %(store)s (ARTIFACT_CACHE_GB), cannot be written: %(answer)s.")
        else:
            return None
        return StoreError(text % values)
