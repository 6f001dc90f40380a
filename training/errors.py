from __future__ import annotations


class RunError(Exception):
    """What cannot be done with a run or a model, in a sentence for the person who asked; `field` names what to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
