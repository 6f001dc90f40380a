"""What a model's location may be. Looked at before it enters the registry; the core looks again before it loads it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from django.conf import settings

from training.errors import RunError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def check(location: str) -> None:
    """
    Raises:
        RunError: nothing can be there, the weights are pickled (unpickling runs code), or the model brings code of its
            own.
    """
    folder = Path(settings.ARTIFACTS) / location
    if ".." in Path(location).parts:
        raise RunError("location", f"There is no folder {location} below {settings.ARTIFACTS}.")
    try:
        is_folder, is_there = folder.is_dir(), folder.exists()
    except OSError:  # a name too long for any folder, or a place where we may not look
        raise nothing_there(location) from None
    if is_folder:
        _check_folder(folder)
    elif is_there:
        raise RunError("location", f"{location} is a file: name the folder that holds the model.")
    elif not HUB_ID.fullmatch(location):
        raise nothing_there(location)


def nothing_there(location: str) -> RunError:
    return RunError("location", f"There is no folder {location} on this server, and no hub has such an id.")


def longest(location: str) -> int | None:
    """How many tokens a model reads at most, as its folder says; None where it does not, or is not here."""
    try:
        config = json.loads((Path(settings.ARTIFACTS) / location / "config.json").read_text())
    except (OSError, ValueError):
        return None
    said = config.get("max_position_embeddings") if isinstance(config, dict) else None
    return said if isinstance(said, int) else None


def longest_response(location: str, usual: int) -> int:
    """The usual length, or half of what the model reads where that would leave no room for a prompt."""
    reads = longest(location)
    return usual if reads is None or usual < reads else max(1, reads // 2)


def _check_folder(folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        raise RunError("location", f"{folder} is no model: it has no config.json that can be read.") from None
    if isinstance(config, dict) and config.get("auto_map"):
        raise RunError("location", f"{folder} brings code of its own (auto_map): that is not run here.")
    if not any(folder.glob("*.safetensors")):
        raise RunError(
            "location", f"{folder} has no safetensors: pickled weights can run code, and are not loaded here."
        )
