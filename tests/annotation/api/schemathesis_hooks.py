"""Loaded by schemathesis: how lines of JSON are sent, and where there is something to be found."""

from __future__ import annotations

import json
from typing import Any

import schemathesis

THERE = {"slug": "helpfulness", "number": 1}


@schemathesis.serializer("application/x-ndjson")
def lines(ctx: Any, value: Any) -> bytes:
    rows = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(row, default=str).encode() + b"\n" for row in rows)


@schemathesis.hook
def map_path_parameters(ctx: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without it nearly every call would end at a project that is not there."""
    if path_parameters:
        path_parameters.update({name: value for name, value in THERE.items() if name in path_parameters})
    return path_parameters
