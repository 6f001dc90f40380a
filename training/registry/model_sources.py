"""Where models may come from: checks of a model's location before it enters the registry (the core checks again before it
loads the model), and of the servers and reward functions that take a model's place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from training.configs import HUB_ID, KINDS, PretrainConfig
from training.configs.size_defaults import default_learning_rate
from training.errors import RunError
from training.registry.model_size import parameter_count

MAX_DEFAULT_LENGTH = 4096
"""Longer sequences only if a run asks for them: a model may read more than its machine has memory for."""


def check_location(location: str) -> None:
    """Check that a location is a folder with safe weights, or can be the id of a model on a hub.

    Folders are below the artifacts' or one of `MODEL_DIRS`: whoever may add models must not learn which other folders there
    are, or have the files of one sent to them.

    Raises:
        RunError: it is neither, the weights are pickled (unpickling runs code), or the model has custom code.
    """
    try:
        folder = (Path(settings.ARTIFACTS) / location).resolve()
        may_read = any(folder.is_relative_to(Path(place).resolve()) for place in _model_dirs())
        is_folder, exists = may_read and folder.is_dir(), may_read and folder.exists()
    except (OSError, ValueError):  # the name is too long, or the folder is not readable
        raise no_such_location(location) from None
    if is_folder:
        _check_folder(folder)
    elif exists:
        text = _("%(location)s is a file: name the folder that holds the model.")
        raise RunError("location", text % {"location": location})
    elif not HUB_ID.fullmatch(location) or Path(settings.BASE_DIR, location).exists():
        # from_pretrained prefers a folder where the program runs to the hub
        raise no_such_location(location)


def no_such_location(location: str) -> RunError:
    text = _(
        "There is no folder %(location)s below %(folder)s or one of the administrator's MODEL_DIRS, and no hub has such an id."
    )
    return RunError("location", text % {"location": location, "folder": settings.ARTIFACTS})


def check_server(url: str) -> None:
    """Check that runs may ask this server: one that a lead chose could be any service of the internal network.

    Raises:
        RunError: it is none of `MODEL_SERVERS`.
    """
    allowed = {server.rstrip("/") for server in settings.MODEL_SERVERS}
    if url.rstrip("/") not in allowed:
        text = (
            _("It is none of the servers in the administrator's MODEL_SERVERS: %(servers)s.")
            if allowed
            else _("It is none of the servers in the administrator's MODEL_SERVERS, of which there are none.")
        )
        raise RunError("server", text % {"servers": ", ".join(sorted(allowed))})


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
    if config.get("reward_function"):
        check_reward_function(config["reward_function"])


def _model_dirs() -> list[str]:
    return [str(settings.ARTIFACTS), *settings.MODEL_DIRS]


def context_length(location: str) -> int | None:
    """A model's maximum number of tokens by its config.json; None if there is none on this server."""
    try:
        config = json.loads((Path(settings.ARTIFACTS) / location / "config.json").read_text())
    except (OSError, ValueError):
        return None
    length = config.get("max_position_embeddings") if isinstance(config, dict) else None
    return length if isinstance(length, int) else None


def default_settings(kind: str, location: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings whose defaults follow from the model that a run starts from, where they differ from the kind's own. config:
    the settings of the run."""
    return default_lengths(kind, location) | default_learning_rate(kind, parameter_count(location), config)


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


def _check_folder(folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        text = _("%(folder)s is no model: it has no config.json that can be read.")
        raise RunError("location", text % {"folder": folder}) from None
    if isinstance(config, dict) and config.get("auto_map"):
        text = _("%(folder)s has custom code (auto_map): that is not run here.")
        raise RunError("location", text % {"folder": folder})
    if not any(folder.glob("*.safetensors")):
        text = _("%(folder)s has no safetensors: pickled weights can run code, and are not loaded here.")
        raise RunError("location", text % {"folder": folder})
