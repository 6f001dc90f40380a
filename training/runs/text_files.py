"""Text files that pre-training and fine-tuning read: put into the store when a run is started, which a worker elsewhere trains
on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from annotation.models import Project
from annotation.store import StoreError, store
from training.errors import RunError
from training.models import Run


def reads_text_file(kind: str, inputs: Mapping[str, Any]) -> bool:
    """Whether a run's data is the text file `data`, and nothing of the project."""
    has_rows = inputs.get("demonstrations") or inputs.get("revisions")
    return kind in (Run.Kind.PRETRAIN, Run.Kind.SFT) and not has_rows


def text_file(name: str) -> Path:
    """The path of a training file below the artifacts' `texts` folder: a run must not read the server's other files.

    Raises:
        RunError: there is no such file.
    """
    folder = (Path(settings.ARTIFACTS) / "texts").resolve()
    path = (folder / name).resolve()
    try:
        exists = path.is_relative_to(folder) and path.is_file()
    except OSError:  # the name is too long, or the folder is not readable
        exists = False
    if not exists:
        text = _("There is no file %(name)s in %(folder)s: put the training texts there.")
        raise RunError("data", text % {"name": repr(name), "folder": folder})
    return path


def put_text_file(project: Project, name: str) -> str:
    """Put a text file into the store, as it is now. Returns its URI.

    Raises:
        RunError: there is no such file, or the store is not available.
    """
    try:
        return store().put(text_file(name), f"texts/{project.slug}")
    except StoreError as error:
        raise RunError("data", str(error)) from error
