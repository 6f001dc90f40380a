"""What can go wrong that a person can put right."""

from __future__ import annotations


class BadInput(Exception):
    """The job cannot be done as asked. The message is a sentence naming the setting or the line of data.jsonl."""

    def __init__(self, message: str, *, setting: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.setting = setting
        self.line = line


class Stopped(BaseException):
    """The run was told to stop and has written what it needs to carry on.

    Not an Exception, as it may be raised while a library is being imported or a model loaded, and must not be caught there.
    """
