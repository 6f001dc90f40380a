"""CSV files that spreadsheets open."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any


def write_rows(rows: Iterable[Iterable[Any]]) -> str:
    """The rows as lines of CSV; texts that spreadsheets would take for formulas begin with an apostrophe."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerows([text_cell(value) if isinstance(value, str) else value for value in row] for row in rows)
    return lines.getvalue()


def text_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: it begins with an apostrophe where it would."""
    return (
        f"'{text}"
        if text.lstrip().startswith(("=", "+", "-", "@")) or text.startswith(("\t", "\r", "\n"))
        else text
    )
