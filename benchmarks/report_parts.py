"""What every part of RESULTS.md is written with."""

from __future__ import annotations

from typing import Any


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def origin(values: dict[str, Any]) -> str:
    peers = "; ".join(
        f"{name}: "
        + ", ".join(f"{library} {version}" for library, version in libraries.items() if library != "python")
        for name, libraries in values["about"]["peers"].items()
    )
    ours = values["about"]["ours"]
    own = f"ours: torch {ours['torch']}, transformers {ours['transformers']}, Python {ours['python']}"
    load = f", load {values['about']['load']}" if "load" in values["about"] else ""
    with_what = ". ".join(part for part in (own, peers) if part)
    return f"*{values['about']['date']}, {values['about']['processor']}{load}. {with_what}.*\n"
