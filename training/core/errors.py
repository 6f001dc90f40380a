"""Exceptions of the training program."""

from __future__ import annotations

import errno


class BadInput(Exception):
    """The job cannot be done with this input. The message is a sentence for the user.

    setting: the config field or entry of job.json at fault. line: the line of data.jsonl at fault, from 1.
    """

    def __init__(self, message: str, *, setting: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.setting = setting
        self.line = line


class TooLong(BadInput):
    """A response, or the last turn of a prompt, exceeds the maximum sequence length. tokens: of what must be read at once."""

    def __init__(self, message: str, *, setting: str, line: int, tokens: int) -> None:
        super().__init__(message, setting=setting, line=line)
        self.tokens = tokens


class Stopped(BaseException):
    """The run was told to stop and has saved what it needs to resume.

    Not an Exception: it may be raised while a library is imported or a model loaded, whose handlers must not catch it.
    """


DISK_FULL = (
    "The disk is full: not all of what the run had to write could be stored. Free some space and start it again; it resumes from"
    " its last checkpoint."
)


def is_disk_full(error: BaseException) -> bool:
    """Whether a file could not be written as the disk, or the user's share of it, is full: an error of the system, or one of
    safetensors, which has its number in the text."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    is_system_error = isinstance(error, OSError) and error.errno in numbers
    return is_system_error or any(f"(os error {number})" in str(error) for number in numbers)
