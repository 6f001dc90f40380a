"""Where models may come from: checks of a model's location before it enters the registry (the core checks again before it
loads the model), and of the servers and reward functions that take a model's place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.utils.translation import gettext as _

from annotation.store import folder_files, get_folder, read_chunks, store
from training.configs import HUB_MODEL, KINDS, PretrainConfig
from training.errors import RunError

MAX_DEFAULT_LENGTH = 4096
"""Longer sequences only if a run asks for them: a model may read more than its machine has memory for."""


class ModelFile(NamedTuple):
    """A file of a model. size: in bytes; uri: where the store has it, or empty."""

    name: str
    size: int
    chunks: Callable[[], Iterator[bytes]]
    uri: str = ""


def check_location(location: str) -> None:
    """Check that a location is `hub:org/name@revision`, or a folder with safe weights: `file:/folder` below one of
    `MODEL_DIRS`, or the output of a run in the store.

    Whoever may add models must not learn which other folders there are, or have the files of one sent to them. No other text
    is a location: a folder that is missing would else be looked for on a hub.

    Raises:
        RunError: it is none of them, the weights are pickled (unpickling runs code), or the model has custom code.
    """
    if HUB_MODEL.fullmatch(location):
        return
    if not location.startswith(("file:", "store:")):
        text = _(
            "%(location)s is no location of a model: write the path of a folder below one of %(folders)s, or"
            " hub:org/name@revision."
        )
        raise RunError("location", text % {"location": location, "folders": ", ".join(settings.MODEL_DIRS)})
    config = _read_config(location)
    if config is None:
        text = _("%(location)s is no model: it has no config.json that can be read.")
        raise RunError("location", text % {"location": location})
    if config.get("auto_map"):
        text = _("%(location)s has custom code (auto_map): that is not run here.")
        raise RunError("location", text % {"location": location})
    is_folder = location.startswith("file:")  # in which links, as in the hub's cache, are fine
    names = [path.name for path in folder_of(location).iterdir()] if is_folder else [*model_files(location)]
    if not any(name.endswith(".safetensors") for name in names):
        text = _("%(location)s has no safetensors: pickled weights can run code, and are not loaded here.")
        raise RunError("location", text % {"location": location})


def folder_of(location: str) -> Path:
    """The folder of a location `file:/folder`.

    Raises:
        RunError: there is none below `MODEL_DIRS`.
    """
    try:
        folder = Path(location.removeprefix("file:")).resolve()
        allowed = any(folder.is_relative_to(Path(place).resolve()) for place in settings.MODEL_DIRS)
        is_folder, exists = allowed and folder.is_dir(), allowed and folder.exists()
    except (OSError, ValueError):  # the name is too long, or the folder is not readable
        raise no_such_location(location) from None
    if exists and not is_folder:
        text = _("%(location)s is a file: name the folder that holds the model.")
        raise RunError("location", text % {"location": location})
    if not is_folder or not location.startswith("file:/"):
        raise no_such_location(location)
    return folder


def no_such_location(location: str) -> RunError:
    text = _(
        "There is no folder %(location)s below one of %(folders)s. The administrator can allow others (MODEL_DIRS)."
    )
    return RunError("location", text % {"location": location, "folders": ", ".join(settings.MODEL_DIRS)})


def put_model(location: str, job_folder: Path) -> str:
    """What `job.json` calls a model: a folder, which is put into the job folder if it is in the store, or the hub's model.

    Raises:
        RunError: the location may not be loaded (any more).
        StoreError: the store does not have the model, or is not available.
    """
    if location.startswith("store:"):
        folder = staged_folder(location)
        if not (job_folder / folder).is_dir():
            get_folder(location, job_folder / folder)
        return str(folder)
    check_location(location)
    return str(folder_of(location)) if location.startswith("file:") else location


def staged_folder(location: str) -> Path:
    """Where a job folder has a model of the store, which never changes."""
    return Path("models", location[-16:])


def served_folder(location: str) -> Path:
    """Where this machine has a model of the store for the servers of chats."""
    return Path(settings.ARTIFACTS, "served", location[-16:])


def model_files(location: str) -> dict[str, ModelFile]:
    """The files of a model, links left out, by name; none of a hub's or where its folder is missing.

    Raises:
        StoreError: the store does not have them, or is not available.
    """
    if location.startswith("store:"):
        files = folder_files(location).values()
        return {name: ModelFile(name, size, partial(store().chunks, uri), uri) for name, uri, size in files}
    if not location.startswith("file:"):
        return {}
    try:
        paths = sorted(
            path for path in folder_of(location).iterdir() if path.is_file() and not path.is_symlink()
        )
    except RunError:
        return {}
    sizes = {path: path.stat().st_size for path in paths}
    return {
        path.name: ModelFile(path.name, size, partial(read_chunks, path, size))
        for path, size in sizes.items()
    }


def _read_config(location: str) -> dict[str, Any] | None:
    """A model's config.json; None if there is none here, or it is no JSON object.

    Raises:
        RunError: there is no such folder below `MODEL_DIRS`.
        StoreError: the store does not have it, or is not available.
    """
    try:
        if location.startswith("file:"):
            config = json.loads((folder_of(location) / "config.json").read_bytes())
        else:
            file = model_files(location).get("config.json")
            config = json.loads(b"".join(file.chunks())) if file else None
    except (FileNotFoundError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def check_server(url: str, setting: str = "server", variable: str = "MODEL_SERVERS") -> None:
    """Check that runs may ask this server: one that a lead chose could be any service of the internal network.

    setting, variable: the run's setting that names it, and the administrator's list.

    Raises:
        RunError: it is none of the list.
    """
    allowed = {server.rstrip("/") for server in getattr(settings, variable)}
    if url.rstrip("/") not in allowed:
        text = (
            _("It is none of the servers in the administrator's %(variable)s: %(servers)s.")
            if allowed
            else _("It is none of the servers in the administrator's %(variable)s, of which there are none.")
        )
        raise RunError(setting, text % {"variable": variable, "servers": ", ".join(sorted(allowed))})


def check_reward_function(name: str) -> None:
    """Check that runs may call this Python function.

    Raises:
        RunError: it is none of `REWARD_FUNCTIONS`.
    """
    if name not in settings.REWARD_FUNCTIONS:
        text = (
            _("It is none of the functions in the administrator's REWARD_FUNCTIONS: %(functions)s.")
            if settings.REWARD_FUNCTIONS
            else _(
                "It is none of the functions in the administrator's REWARD_FUNCTIONS, of which there are none."
            )
        )
        raise RunError("reward_function", text % {"functions": ", ".join(settings.REWARD_FUNCTIONS)})


def check_settings(config: Mapping[str, Any]) -> None:
    """Check that the settings of a run name no server and no function that the administrator does not allow.

    Raises:
        RunError: they do.
    """
    if config.get("server"):
        check_server(config["server"])
    if config.get("sampler_server"):
        check_server(config["sampler_server"], "sampler_server", "SAMPLER_SERVERS")
    if config.get("reward_function"):
        check_reward_function(config["reward_function"])


def context_length(location: str) -> int | None:
    """A model's maximum number of tokens by its config.json; None if that is not known here."""
    try:
        config = _read_config(location)
    except (RunError, OSError):
        return None
    length = (config or {}).get("max_position_embeddings")
    return length if isinstance(length, int) else None


def default_lengths(kind: str, location: str) -> dict[str, int]:
    """The settings of lengths for a run of this kind that starts from a model of this server: as many tokens as the model
    reads, and responses that leave room for a prompt. Empty if that is not known."""
    context = context_length(location)
    if context is None or kind == PretrainConfig.kind:
        return {}
    lengths = {"max_length": min(context, MAX_DEFAULT_LENGTH)}
    defaults: dict[str, Any] = {setting.name: setting.default for setting in fields(KINDS[kind])}
    if defaults.get("max_new_tokens", 0) >= lengths["max_length"]:
        lengths["max_new_tokens"] = max(1, lengths["max_length"] // 2)
    return lengths
