"""Exports of other annotation tools: the data of a record, which is itself in one of the formats, and its annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from annotation.imports.dataset_formats.base import DatasetFormat, objects
from annotation.imports.file_rows import JsonObject
from annotation.imports.preferences import (
    FIRST,
    SECOND,
    NoPreference,
    Preference,
    as_number,
    as_text,
    choose,
    ranks_by_score,
    read_time,
)
from annotation.imports.prompt_schema import ImportedPrompt, RowError
from annotation.logic.splits import digest
from annotation.logic.translation import gettext as _

Detect = Callable[[JsonObject], DatasetFormat]


def _judge_label_studio(row: JsonObject) -> list[Preference]:
    """The pairwise choices; other kinds of annotations say nothing that can be read without the labelling interface."""
    preferences = []
    for annotation in objects(row["annotations"], "annotations"):
        if annotation.get("was_cancelled"):
            continue
        for result in objects(annotation.get("result") or [], "annotations.result"):
            if result.get("type") != "pairwise":
                continue
            value = result.get("value")
            selected = value.get("selected") if isinstance(value, dict) else None
            others = [other for other in annotation["result"] if other is not result]
            details = {
                "id": annotation.get("id"),
                "seconds": annotation.get("lead_time"),
                "other_results": others,
            }
            preferences.append(
                Preference(
                    choose(selected, {"left": FIRST, "right": SECOND}),
                    annotator=_annotator(annotation.get("completed_by")),
                    judged_at=read_time(annotation.get("created_at")),
                    details={name: value for name, value in details.items() if value},
                )
            )
    if row["annotations"] and not preferences:
        raise NoPreference(_("annotations that are not pairwise choices"))
    return preferences


def _annotator(completed_by: object) -> str:
    """Who made an annotation, by their number; by a pseudonym where the file has an e-mail address only."""
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("id", completed_by.get("email"))
    name = as_text(completed_by)
    return f"annotator-{digest(name)[:8]}" if "@" in name else name[:200]


def _judge_argilla(row: JsonObject, prompt: ImportedPrompt) -> list[Preference]:
    """Rankings of the fields with answers, and choices of one of them; other questions do not say which answer is better."""
    texts = {value: _plain(name) for name, value in row["fields"].items() if isinstance(value, str)}
    columns = [texts.get(response.text, "") for response in prompt.responses]
    preferences = []
    for annotator, value in _argilla_values(row["responses"]):
        if isinstance(value, str) and _plain(value) in columns:
            ranks = [1 if column == _plain(value) else 2 for column in columns]
        elif isinstance(value, list) and all(isinstance(v, dict) and "rank" in v for v in value):
            given = {_plain(as_text(one.get("value"))): as_number(one["rank"]) for one in value}
            if set(given) != set(columns):
                raise NoPreference(_("rankings of other values than the fields with answers"))
            ranks = ranks_by_score([-given[column] for column in columns])
        else:
            continue
        preferences.append(Preference(ranks, annotator=annotator[:200]))
    if row["responses"] and not preferences:
        raise NoPreference(_("responses that are neither rankings nor the best answer's name"))
    return preferences


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _argilla_values(responses: object) -> Iterator[tuple[str, object]]:
    """Who answered a question, and what: from a list of each user's values, or from each question's list of answers."""
    if isinstance(responses, dict):
        for answers in responses.values():
            for answer in objects(answers, "responses"):
                yield as_text(answer.get("user_id")), answer.get("value")
        return
    for response in objects(responses, "responses"):
        values = response.get("values")
        for value in values.values() if isinstance(values, dict) else ():
            yield as_text(response.get("user_id")), value.get("value") if isinstance(value, dict) else value


def tool_formats(detect: Detect) -> tuple[DatasetFormat, ...]:
    """The formats of annotation tools. detect: finds the format of a record's data."""

    def judge_argilla(row: JsonObject) -> list[Preference]:
        return _judge_argilla(row, convert_data("fields")(row))

    def convert_data(column: str) -> Callable[[JsonObject], ImportedPrompt]:
        def convert(row: JsonObject) -> ImportedPrompt:
            data = row[column]
            if not isinstance(data, dict):
                raise RowError(_("%(column)s: not an object") % {"column": column})
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
            preferences=("annotations",),
            about_preferences=("drafts", "predictions"),
            judge=_judge_label_studio,
            judged_by="person",
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
            preferences=("responses",),
            about_preferences=("suggestions",),
            judge=judge_argilla,
            judged_by="person",
            ignored=("vectors", "status", "inserted_at", "updated_at"),
        ),
    )
