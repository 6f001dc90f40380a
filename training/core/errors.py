"""Exceptions of the training program."""

from __future__ import annotations


class BadInput(Exception):
    """The job cannot be done with this input. The message is a sentence for the user.

    setting: the config field or entry of job.json at fault. line: the line of data.jsonl at fault, from 1.
    """

    def __init__(self, message: str, *, setting: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.setting = setting
        self.line = line


class TooLong(BadInput):
    """A response alone exceeds the maximum sequence length. tokens: of the response."""

    def __init__(self, message: str, *, setting: str, line: int, tokens: int) -> None:
        super().__init__(message, setting=setting, line=line)
        self.tokens = tokens


class Stopped(BaseException):
    """The run was told to stop and has saved what it needs to resume.

    Not an Exception: it may be raised while a library is imported or a model loaded, whose handlers must not catch it.
    """
