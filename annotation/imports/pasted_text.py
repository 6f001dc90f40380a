"""Prompts pasted as text: one per line, or blocks of several lines with answers."""

from __future__ import annotations

import json
import re

_BLOCK_END = re.compile(r"^===+[ \t\r]*$", re.MULTILINE)
_PART_END = re.compile(r"^---+[ \t\r]*$", re.MULTILINE)


def has_blocks(text: str) -> bool:
    """Whether lines of `===` or `---` divide the text."""
    return bool(_BLOCK_END.search(text) or _PART_END.search(text))


def blocks_as_json_lines(text: str) -> str:
    """Blocks, which end with a line of `===`, in Palate's own format: a prompt and, each after a line of `---`, its answers.
    Empty blocks are left out."""
    lines = []
    for block in _BLOCK_END.split(text.replace("\r\n", "\n")):
        prompt, *answers = (part.strip() for part in _PART_END.split(block))
        if prompt or answers:
            row = {"prompt": prompt, **({"responses": answers} if answers else {})}
            lines.append(json.dumps(row, ensure_ascii=False))
    return "\n".join(lines)
