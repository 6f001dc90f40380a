"""JSON Lines (one object per line) and plain lists of prompts (one per line)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from annotation.imports.file_rows import FileRow, parse_json_object
from annotation.imports.line_reader import read_lines
from annotation.logic.translation import gettext as _


def read_json_lines(path: Path) -> Iterator[FileRow]:
    for number, text, position in _decoded_lines(path):
        try:
            if text is None:
                raise ValueError(_("not UTF-8 text"))
            yield FileRow(number, parse_json_object(text), position)
        except ValueError as error:
            yield FileRow(number, None, position, str(error))


def read_prompt_list(path: Path) -> Iterator[FileRow]:
    for number, text, position in _decoded_lines(path):
        if text is None:
            yield FileRow(number, None, position, _("not UTF-8 text"))
        else:
            yield FileRow(number, {"prompt": text}, position)


def _decoded_lines(path: Path) -> Iterator[tuple[int, str | None, int]]:
    """Each non-empty line as (number, text, end position in bytes); the text is None where it is not UTF-8."""
    position = 0
    with path.open("rb") as file:
        for number, line in enumerate(read_lines(file), start=1):
            position += len(line)
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                yield number, None, position
                continue
            if text:
                yield number, text, position
