"""Errors of the store, each a sentence that names the setting."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StoreError(OSError):
    """Why an object could not be written or read. An `OSError`, whose `strerror` can stand within another sentence: to callers
    the store is a disk."""

    def __init__(self, sentence: str) -> None:
        super().__init__(errno.EIO, sentence.removesuffix("."))

    def __str__(self) -> str:
        return f"{self.strerror}."


class MissingObject(StoreError):
    """There is no such object."""


class WrongHash(StoreError):
    """The content of an object is not what its name says."""


@contextmanager
def as_store_errors(explain: Callable[[Exception], StoreError | None]) -> Iterator[None]:
    """A context in which errors become those that `explain` returns; others, for which it returns None, stay."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        raise explained from error
