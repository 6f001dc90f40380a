"""The prompts and answers that both sides import."""

from __future__ import annotations

from typing import Any

BATCH = 250
"""Tasks that are sent at once."""


def make_task(number: int, name: str) -> dict[str, Any]:
    return {
        "id": f"{name}-{number}",
        "prompt": f"Question {number} of {name}: " + "how does this thing work? " * 8,
        "responses": [
            f"Answer {letter} to {number}. " + f"It works because of {letter}. " * 12 for letter in "ABCD"
        ],
    }
