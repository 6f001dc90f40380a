"""Exports of other annotation tools: the data of a record, which is itself in one of the formats, and its annotations."""

from __future__ import annotations

from collections.abc import Callable

from annotation.imports.dataset_formats.base import DatasetFormat
from annotation.imports.file_rows import JsonObject
from annotation.imports.prompt_schema import ImportedPrompt, RowError

Detect = Callable[[JsonObject], DatasetFormat]


def tool_formats(detect: Detect) -> tuple[DatasetFormat, ...]:
    """The formats of annotation tools. detect: finds the format of a record's data."""

    def convert_data(column: str) -> Callable[[JsonObject], ImportedPrompt]:
        def convert(row: JsonObject) -> ImportedPrompt:
            data = row[column]
            if not isinstance(data, dict):
                raise RowError(f"{column}: not an object")
            try:
                format = detect(data)
                prompt = format.convert(data)
            except RowError as error:
                raise RowError(f"{column}: {error}") from None
            rest = {
                n: v for n, v in data.items() if format.use_of(n) in ("metadata", "other") and v is not None
            }
            prompt.metadata.update(rest)
            return prompt

        return convert

    return (
        DatasetFormat(
            "label-studio",
            "Label Studio",
            ("data", "annotations"),
            convert_data("data"),
            metadata=("id", "meta", "inner_id"),
            preferences=("annotations", "drafts", "predictions"),
            ignored=(
                *(
                    "created_at",
                    "updated_at",
                    "project",
                    "updated_by",
                    "comment_authors",
                    "total_annotations",
                ),
                *("cancelled_annotations", "total_predictions", "comment_count", "unresolved_comment_count"),
                *("last_comment_updated_at", "file_upload", "allow_skip"),
            ),
        ),
        DatasetFormat(
            "argilla",
            "Argilla",
            ("fields", "responses"),
            convert_data("fields"),
            metadata=("id", "metadata", "external_id", "_server_id"),
            preferences=("responses", "suggestions"),
            ignored=("vectors", "status", "inserted_at", "updated_at"),
        ),
    )
