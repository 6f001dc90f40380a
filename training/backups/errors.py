"""The error of a backup that could not be made or restored."""

from __future__ import annotations


class BackupError(Exception):
    """A backup could not be made or restored; the message says why, and what to do."""
