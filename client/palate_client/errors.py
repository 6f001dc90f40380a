from __future__ import annotations

from typing import Any


class PalateError(Exception):
    """What the site refused, in a sentence. `status` is the HTTP status, 0 where the site could not be reached; `errors` has
    what is wrong by the name of the field or, of an import, by line."""

    def __init__(self, status: int, detail: str, errors: Any = None) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = errors or {}
