"""Formats of public preference datasets, each recognised by its columns and converted by one small function."""

from __future__ import annotations

from annotation.imports.dataset_formats.annotation_tools import tool_formats
from annotation.imports.dataset_formats.base import DatasetFormat, NotComparable
from annotation.imports.dataset_formats.comparisons import COMPARISON_FORMATS
from annotation.imports.dataset_formats.completions import COMPLETION_FORMATS
from annotation.imports.dataset_formats.mapped import (
    COLUMN_ROLES,
    ColumnMapping,
    MappedFormat,
    MappingError,
    guess_role,
    mapped_format,
)
from annotation.imports.dataset_formats.pairs import PAIR_FORMATS
from annotation.imports.dataset_formats.tables import PALATE, TABLE_FORMATS
from annotation.imports.dataset_formats.trees import TREE_FORMATS
from annotation.imports.file_rows import JsonObject
from annotation.imports.prompt_schema import RowError
from annotation.logic.translation import gettext as _

__all__ = [
    "COLUMN_ROLES",
    "DATASET_FORMATS",
    "PALATE",
    "ColumnMapping",
    "DatasetFormat",
    "MappedFormat",
    "MappingError",
    "NotComparable",
    "UnknownFormat",
    "detect_format",
    "guess_role",
    "mapped_format",
]


class UnknownFormat(RowError):
    """The columns of a row match no format."""


def detect_format(row: JsonObject) -> DatasetFormat:
    """The format of a row: of those that match, the one that requires most columns.

    Raises:
        UnknownFormat: the columns match no format.
    """
    matching = [format for format in DATASET_FORMATS.values() if format.matches(row)]
    if matching:
        return max(matching, key=lambda matched: len(matched.required))
    columns = ", ".join(sorted(str(name) for name in row)[:12]) or _("none")
    raise UnknownFormat(
        _(
            "unknown format: its columns are %(columns)s. Call one of them prompt, or map the columns to their roles."
        )
        % {"columns": columns}
    )


# of formats that require as many columns, the first that matches is taken
DATASET_FORMATS: dict[str, DatasetFormat] = {
    format.name: format
    for format in (
        *TABLE_FORMATS,
        *PAIR_FORMATS,
        *COMPARISON_FORMATS,
        *COMPLETION_FORMATS,
        *TREE_FORMATS,
        *tool_formats(detect_format),
    )
}
