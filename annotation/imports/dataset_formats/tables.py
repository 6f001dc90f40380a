"""Palate's own rows, tables with a column for each answer, and bare prompts."""

from __future__ import annotations

import re
from typing import Any

from annotation.imports.dataset_formats.base import (
    Answer,
    DatasetFormat,
    build_prompt,
    objects,
    read_json_text,
)
from annotation.imports.dataset_formats.pairs import read_prompt_column
from annotation.imports.file_rows import JsonObject
from annotation.imports.preferences import NoPreference, Preference
from annotation.imports.prompt_schema import FIELDS, ImportedPrompt, read_judgment, read_messages, read_prompt
from annotation.logic import ranking
from annotation.logic.translation import gettext as _
from annotation.logic.translation import gettext_noop

_ANSWER_COLUMN = re.compile(r"(?:response|answer|completion|output)[ _-]?(?:[1-9]|[a-i])", re.IGNORECASE)
_MODEL_COLUMN = re.compile(r"model[ _-]?(?:[1-9]|[a-i])", re.IGNORECASE)


def _palate(row: JsonObject) -> ImportedPrompt:
    return read_prompt({name: row[name] for name in FIELDS if name in row})


def _answer_columns(row: JsonObject) -> list[str]:
    return sorted(name for name in row if _ANSWER_COLUMN.fullmatch(name))


def _table(row: JsonObject) -> ImportedPrompt:
    answers = [
        Answer(row[name], row.get(re.sub(r"^[a-zA-Z]+", "model", name))) for name in _answer_columns(row)
    ]
    return build_prompt(read_messages(row.get("prompt")), answers)


def _raw(row: JsonObject) -> ImportedPrompt:
    """A row of the export `raw`; the metadata, which is JSON as a text there, is an object again."""
    responses = [
        {
            "text": r.get("text"),
            "author": r.get("author"),
            "metadata": read_json_text(r.get("metadata"), "metadata"),
        }
        for r in objects(row["responses"], "responses")
    ]
    values = {
        "id": row["prompt_id"],
        "prompt": row["messages"],
        "responses": responses,
        "tags": row.get("tags"),
    }
    return read_prompt(
        values | {"metadata": read_json_text(row.get("metadata"), "metadata")}, min_responses=0
    )


def _prompts(row: JsonObject) -> ImportedPrompt:
    return build_prompt(read_prompt_column(row), [])


def _judge_rankings(row: JsonObject) -> list[Preference]:
    return [Preference(_read_ranks(row["ranks"]))]


def _judge_raw(row: JsonObject) -> list[Preference]:
    responses = objects(row["responses"] or [], "responses")
    about = {name: row[name] for name in _KEPT_OF_RAW if row.get(name) is not None}
    values = {name: row.get(name) for name in ("ranks", "annotator", "account", "degree", "rationale")}
    values |= {
        "account": values["account"] or None,
        "quality": _all_of(responses, "quality"),
        "safe": _all_of(responses, "safe"),
        "flags": [response.get("flags") or [] for response in responses],
        "ratings": _lists_of(responses, "ratings"),
        "comments": _lists_of(responses, "comments"),
        "shown_order": row.get("shown_order") or None,
        "judged_at": row.get("created_at"),
        "details": about | _details(row.get("details")),
    }
    return [read_judgment(values, "judgment", len(responses))]


_KEPT_OF_RAW = (
    *("judgment", "seconds", "guideline", "counted", "gold", "control", "agreement", "verdict", "supersedes"),
    *("demonstration", "source", "project", "questions", "answers", "chat", "turn"),
)


def _lists_of(responses: list[JsonObject], name: str) -> list[Any] | None:
    """None where all are empty, as before there were such."""
    values = [response.get(name) or [] for response in responses]
    return values if any(values) else None


def _all_of(responses: list[JsonObject], name: str) -> list[Any] | None:
    values = [response.get(name) for response in responses]
    return None if all(value is None for value in values) else values


def _details(text: object) -> JsonObject:
    details = read_json_text(text, "details")
    return details if isinstance(details, dict) else {}


def _read_ranks(ranks: object) -> list[int]:
    if not isinstance(ranks, list) or len(ranks) < 2 or not all(type(r) is int and r >= 1 for r in ranks):
        raise NoPreference(_("rows whose ranks are not a list of numbers"))
    return ranking.dense(ranks)


PALATE = DatasetFormat(
    "palate",
    gettext_noop("Palate (prompt + responses)"),
    ("prompt",),
    _palate,
    optional=FIELDS,
    preferences=("judgments",),
    condition=lambda row: "responses" in row or row.keys() <= set(FIELDS),
)

TABLE_FORMATS = (
    PALATE,
    DatasetFormat(
        "rankings",
        gettext_noop("Palate's export rankings"),
        ("prompt", "responses", "ranks"),
        lambda row: read_prompt({name: row[name] for name in ("prompt", "responses")}),
        preferences=("ranks",),
        judge=_judge_rankings,
    ),
    DatasetFormat(
        "raw",
        gettext_noop("Palate's export raw"),
        ("judgment", "prompt_id", "messages", "responses", "ranks"),
        _raw,
        optional=("tags", "metadata"),
        preferences=(
            *(
                "judgment",
                "ranks",
                "ranking",
                "degree",
                "margin",
                "shown_order",
                "demonstration",
                "annotator",
            ),
            *("account", "guideline", "rationale", "seconds", "counted", "gold", "control", "agreement"),
            *("verdict", "supersedes", "created_at", "project", "imported", "source", "details"),
            *("questions", "answers", "chat", "turn"),
        ),
        judge=_judge_raw,
        ignored=("group", "item", "split", "probability", "round"),
    ),
    DatasetFormat(
        "table",
        gettext_noop("Table of prompts and answers"),
        ("prompt",),
        _table,
        metadata=("id", "source"),
        is_column=lambda name: bool(_ANSWER_COLUMN.fullmatch(name) or _MODEL_COLUMN.fullmatch(name)),
        varying=("response_1", "response_2", "model_1", "model_2"),
        condition=lambda row: bool(_answer_columns(row)),
    ),
    DatasetFormat(
        "prompts",
        gettext_noop("Prompts"),
        ("prompt",),
        _prompts,
        metadata=("id", "source"),
        condition=lambda row: not {"chosen", "rejected", "completion", "response"} & row.keys(),
    ),
)
