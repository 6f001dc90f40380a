"""The number of parameters of a model, by its files or its name, and the settings of a run that follow from its model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from annotation.store import StoreError
from training.configs import HUB_MODEL
from training.configs.size_defaults import default_learning_rate
from training.registry.model_sources import default_lengths, model_files

MAX_HEADER = 100_000_000
"""Bytes of a safetensors header, as in the library that reads the weights."""
SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([bBmM])(?![A-Za-z0-9])")
"""7b in Llama-2-7b-hf, but neither in Mixtral-8x7B nor in A3B."""


def default_settings(kind: str, location: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings whose defaults follow from the model that a run starts from, where they differ from the kind's own. config:
    the settings of the run."""
    return default_lengths(kind, location) | default_learning_rate(kind, parameter_count(location), config)


def parameter_count(location: str) -> int | None:
    """A model's number of parameters: of a folder or of the store by the headers of its safetensors, of a model on a hub by its
    name (Qwen2.5-0.5B). None if neither tells."""
    try:
        files = [
            file
            for name, file in model_files(location).items()
            if name.endswith(".safetensors") and "/" not in name
        ]
        if files:
            return sum(_count_weights(file.name, file.chunks()) for file in files)
    except (OSError, ValueError, StoreError):
        return None
    hub = HUB_MODEL.fullmatch(location)
    sizes = SIZE_IN_NAME.findall(hub["id"]) if hub else []
    return max(
        (int(float(number) * 10 ** (9 if unit in "bB" else 6)) for number, unit in sizes), default=None
    )


def _count_weights(name: str, chunks: Iterator[bytes]) -> int:
    """The number of weights in a safetensors file, of which no more than the header is read. Raises ValueError if that cannot be
    read."""
    data = next(chunks, b"")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        raise ValueError(name)
    while len(data) < 8 + length and (more := next(chunks, b"")):
        data += more
    header = json.loads(data[8 : 8 + length])
    try:
        return sum(prod(tensor["shape"]) for key, tensor in header.items() if key != "__metadata__")
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(name) from error
