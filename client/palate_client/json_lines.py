"""Lines of JSON in requests and responses."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from palate_client.errors import PalateError


def prompt_chunks(prompts: Path | str | Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """A file, decompressed if its name ends with .gz, or each prompt as a line.

    Raises:
        PalateError: the file is damaged.
    """
    if isinstance(prompts, (Path, str)):
        with gzip.open(prompts) if str(prompts).endswith(".gz") else Path(prompts).open("rb") as file:
            try:
                while chunk := file.read(2**16):
                    yield chunk
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise PalateError(0, f"{prompts} cannot be decompressed: {error}") from error
    else:
        for prompt in prompts:
            yield json.dumps(prompt, ensure_ascii=False).encode() + b"\n"


def cut_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut at newlines alone: what else ends a line, U+2028 for example, may stand in a JSON string."""
    unfinished: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        unfinished.append(first)
        for other in others:
            yield b"".join(unfinished)
            unfinished = [other]
    yield b"".join(unfinished)
