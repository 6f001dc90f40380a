"""The error of an action on runs, models or rounds."""

from __future__ import annotations


class RunError(Exception):
    """An action is not possible; the message is shown to the user. `field` is the input to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
