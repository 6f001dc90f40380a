"""A function that runs of the tests may name as their reward; the module must not be imported but by the trainer."""

from __future__ import annotations

from typing import Any


def count_letters(
    prompts: list[list[dict[str, str]]], responses: list[str], metadata: list[dict[str, Any]]
) -> list[float]:
    return [float(response.count(row["letter"])) for response, row in zip(responses, metadata, strict=True)]
