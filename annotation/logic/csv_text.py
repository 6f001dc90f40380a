"""Texts in CSV files that spreadsheets open."""

from __future__ import annotations


def text_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: it begins with an apostrophe where it would."""
    return (
        f"'{text}"
        if text.lstrip().startswith(("=", "+", "-", "@")) or text.startswith(("\t", "\r", "\n"))
        else text
    )
