"""Rank and world size of this process, as torchrun sets them in the environment; a program started by hand is rank 0 of 1.

Apart from `distributed`, which imports torch: events and job directories are read before torch is loaded.
"""

from __future__ import annotations

import os


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of processes that work on the job."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process is the one that writes events and files."""
    return rank() == 0
