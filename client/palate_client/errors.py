"""The error that every call may raise."""

from __future__ import annotations

from typing import Any


class PalateError(Exception):
    """Why a request failed, in a sentence. `status` is the HTTP status, 0 if there was no response; `errors` has the errors by
    field or, for an import, by line."""

    def __init__(self, status: int, detail: str, errors: Any = None) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = errors or {}
