"""What people said, going out: live, and from snapshots."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from annotation.actions import snapshots
from annotation.api import errors
from annotation.api.renderers import NDJSON, NDJSONRenderer, ParquetRenderer, ZipRenderer
from annotation.exports.formats import FORMATS
from annotation.exports.selection import ACCOUNTS, FILES, GOLD, SPLITS, VOTES, Selection, SelectionError
from annotation.models import Project, Snapshot

RENDERERS = (JSONRenderer, NDJSONRenderer, ParquetRenderer)
ZIP_RENDERERS = (JSONRenderer, ZipRenderer)


def selection_of(request: Request, *besides: str) -> Selection:
    """
    Raises:
        ValidationError: a parameter is unknown or has no such value.
    """
    given = {name: value for name, value in request.query_params.dict().items() if name not in besides}
    with errors.by_field(SelectionError):
        return Selection.of(given)


def snapshot_of(project: Project, number: str | int, field: str | None = None) -> Snapshot:
    """
    Raises:
        NotFound: there is no such snapshot, or its file is gone.
        ValidationError: there is no such snapshot, and `field` is where its number came from.
    """
    text = str(number)
    known = text.isascii() and text.isdecimal() and len(text) < 9
    snapshot = project.snapshots.select_related("project").filter(number=int(text)).first() if known else None
    if snapshot is None and field:
        raise ValidationError({field: [f"{text[:40]!r} is the number of no snapshot of this project."]})
    if snapshot is None:
        raise NotFound("No such snapshot.")
    if not snapshots.file_of(snapshot).is_file():
        raise NotFound(f"The file of {snapshot} is not on this server.")
    return snapshot


# --- how the OpenAPI document describes them -------------------------------------------------------------------


def _parameter(name: str, type: Any, description: str, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, type, description=description, **more)


_SHORT = {"type": "string", "minLength": 1, "maxLength": 200}
_MOMENT = {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
SELECTION = [
    _parameter(
        "format",
        str,
        " ".join(f"`{name}`: {format.about}" for name, format in FORMATS.items()),
        enum=list(FORMATS),
        default="trl",
    ),
    _parameter("file", str, "JSON Lines or Parquet.", enum=list(FILES), default="jsonl"),
    _parameter(
        "votes",
        str,
        " ".join(f"`{name}`: {words}" for name, words in VOTES.items())
        + " What a reviewer decided stands above `majority` and `bradley-terry`.",
        enum=list(VOTES),
        default="all",
    ),
    _parameter(
        "origin",
        str,
        "`true` adds a column `origin`: item, group, judgment, annotator, shown order, models, round, agreement, ….",
        enum=["true", "false"],
    ),
    _parameter("split", str, "Only prompts for training, or only those held out.", enum=list(SPLITS)),
    _parameter("tag", _SHORT, "Only prompts with this tag."),
    _parameter("annotator", _SHORT, "Only the judgments of this pseudonym."),
    _parameter(
        "account", str, "Only people's, or only scripts' and AI labelers' judgments.", enum=list(ACCOUNTS)
    ),
    _parameter("model", _SHORT, "Only items with an answer of this author."),
    _parameter("guideline", _NUMBER, "Only under this version of the guidelines."),
    _parameter("round", _NUMBER, "Only items with answers that were sampled in this round."),
    _parameter("since", _MOMENT, "Only from this date or moment (UTC) on."),
    _parameter("until", _MOMENT, "Only up to the end of this date, or before this moment."),
    _parameter(
        "agreement",
        {"type": "number", "minimum": 0, "maximum": 1},
        "Only items of which at least this share of two people's views agree. Items with a single judgment have none.",
    ),
    _parameter("control", str, "`true`: only the uniform control slice.", enum=["true", "false"]),
    _parameter(
        "gold",
        str,
        "Items with a known answer, which training formats leave out and `raw` has unless told otherwise.",
        enum=list(GOLD),
    ),
    _parameter(
        "counted", str, "`true`: leaves out of `raw` what came too late to count.", enum=["true", "false"]
    ),
]
_TRL = {
    "prompt": [{"role": "user", "content": "What is the capital of France?"}],
    "chosen": [{"role": "assistant", "content": "Paris."}],
    "rejected": [{"role": "assistant", "content": "Lyon, I think."}],
    "margin": 0.0,
}
EXAMPLES = [OpenApiExample("trl", _TRL, response_only=True, media_type=NDJSON, status_codes=["200"])]
_BINARY = {"type": "string", "format": "binary"}
FILE_ANSWER: dict[Any, Any] = {
    (200, NDJSON): OpenApiResponse({"type": "string"}, "JSON Lines, streamed."),
    (200, FILES["parquet"]): OpenApiResponse(_BINARY, "Parquet, streamed."),
}
RANGES: dict[Any, Any] = {
    206: OpenApiResponse(description="The part that `Range` asks for."),
    304: OpenApiResponse(description="`If-None-Match` names this very file."),
    416: OpenApiResponse(description="`Range` lies outside of the file."),
}
