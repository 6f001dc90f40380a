"""The number of parameters of a model, by its files or its name."""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path

from django.conf import settings

from training.configs import HUB_ID

MAX_HEADER = 100_000_000
"""Bytes of a safetensors header, as in the library that reads the weights."""
SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([bBmM])(?![A-Za-z0-9])")
"""7b in Llama-2-7b-hf, but neither in Mixtral-8x7B nor in A3B."""


def parameter_count(location: str) -> int | None:
    """A model's number of parameters: of a folder of this server by the headers of its safetensors, of a model on a hub by its
    name (Qwen2.5-0.5B). None if neither tells."""
    try:
        files = list((Path(settings.ARTIFACTS) / location).glob("*.safetensors"))
        if files:
            return sum(map(_count_weights, files))
    except (OSError, ValueError):
        return None
    sizes = SIZE_IN_NAME.findall(location) if HUB_ID.fullmatch(location) else []
    return max(
        (int(float(number) * 10 ** (9 if unit in "bB" else 6)) for number, unit in sizes), default=None
    )


def _count_weights(file: Path) -> int:
    """The number of weights in a safetensors file. Raises ValueError if its header cannot be read."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError(f"The header of {file} has {length} bytes.")
        header = json.loads(stream.read(length))
    try:
        return sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} has no safetensors header.") from error
