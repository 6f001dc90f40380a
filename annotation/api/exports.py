"""Parameters of exports, shared by live exports and snapshots."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from annotation.api import errors
from annotation.api.renderers import NDJSON, NDJSONRenderer, ParquetRenderer, ZipRenderer
from annotation.exports.formats import FORMATS
from annotation.exports.selection import (
    ACCOUNTS,
    AI,
    FILES,
    GOLD,
    IMPORTED,
    SPLITS,
    VOTES,
    Selection,
    SelectionError,
)
from annotation.models import Project, Snapshot
from annotation.store import store

RENDERERS = (JSONRenderer, NDJSONRenderer, ParquetRenderer)
ZIP_RENDERERS = (JSONRenderer, ZipRenderer)


def read_selection(request: Request, *other_parameters: str, of_snapshot: bool = False) -> Selection:
    """
    Raises:
        ValidationError: a parameter is unknown or invalid.
    """
    parameters = {
        name: value for name, value in request.query_params.dict().items() if name not in other_parameters
    }
    with errors.as_field_errors(SelectionError):
        return Selection.from_parameters(parameters, of_snapshot=of_snapshot)


def get_snapshot(project: Project, number: str | int, field: str | None = None) -> Snapshot:
    """
    Raises:
        NotFound: there is no such snapshot, or its file is missing.
        ValidationError: there is no such snapshot, and its number was in the parameter `field`.
    """
    text = str(number)
    is_number = text.isascii() and text.isdecimal() and len(text) < 9
    snapshot = (
        project.snapshots.select_related("project").filter(number=int(text)).first() if is_number else None
    )
    if snapshot is None and field:
        raise ValidationError({field: [f"{text[:40]!r} is not the number of a snapshot of this project."]})
    if snapshot is None:
        raise NotFound("No such snapshot.")
    if not store().exists(snapshot.path):
        raise NotFound(f"The file of {snapshot} is not in the store.")
    return snapshot


# --- OpenAPI ----------------------------------------------------------------------------------------------------


def _parameter(name: str, type: Any, description: str, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, type, description=description, **more)


_SHORT = {"type": "string", "minLength": 1, "maxLength": 200}
_DATETIME = {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}
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
        + " A reviewer's verdict overrides `majority` and `bradley-terry`.",
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
        "account", str, "Only judgments by people, or only by scripts and AI labelers.", enum=list(ACCOUNTS)
    ),
    _parameter("model", _SHORT, "Only items with an answer of this author."),
    _parameter("guideline", _NUMBER, "Only under this version of the guidelines."),
    _parameter("round", _NUMBER, "Only items with answers that were sampled in this round."),
    _parameter("since", _DATETIME, "Only from this date or time (UTC) on."),
    _parameter("until", _DATETIME, "Only up to the end of this date, or before this time."),
    _parameter(
        "agreement",
        {"type": "number", "minimum": 0, "maximum": 1},
        "Only items whose agreement between annotators is at least this. Items with a single judgment have none.",
    ),
    _parameter("control", str, "`true`: only the random sample (control).", enum=["true", "false"]),
    _parameter(
        "gold",
        str,
        "Items with a known answer: excluded by default from training formats, included in `raw`.",
        enum=list(GOLD),
    ),
    _parameter(
        "imported",
        str,
        "Judgments that were imported: excluded by default from training formats, included in `raw`.",
        enum=list(IMPORTED),
    ),
    _parameter(
        "counted",
        str,
        "`true`: leaves out of `raw` the judgments that came too late to count.",
        enum=["true", "false"],
    ),
    _parameter(
        "ai",
        str,
        "Opinions of a judge, which is a model: excluded by default. With `only` or `with`, pairs and `rankings` have the "
        "columns `source` (`person` or `ai`), `judge`, `constitution` (a version) and `probability`, and filters of people's "
        "judgments do not apply to opinions. Not of a snapshot.",
        enum=list(AI),
        default="exclude",
    ),
    _parameter("opinions", _NUMBER, "Which opinion set, for `ai`: the latest by default."),
]
_TRL = {
    "prompt": [{"role": "user", "content": "What is the capital of France?"}],
    "chosen": [{"role": "assistant", "content": "Paris."}],
    "rejected": [{"role": "assistant", "content": "Lyon, I think."}],
    "margin": 0.0,
}
EXAMPLES = [OpenApiExample("trl", _TRL, response_only=True, media_type=NDJSON, status_codes=["200"])]
_BINARY = {"type": "string", "format": "binary"}
FILE_RESPONSE: dict[Any, Any] = {
    (200, NDJSON): OpenApiResponse({"type": "string"}, "JSON Lines, streamed."),
    (200, FILES["parquet"]): OpenApiResponse(_BINARY, "Parquet, streamed."),
}
RANGES: dict[Any, Any] = {
    206: OpenApiResponse(description="The part that `Range` requests."),
    304: OpenApiResponse(description="`If-None-Match` has the ETag of this file."),
    302: OpenApiResponse(
        description="Where the store is a bucket: `Location` is a link to the file, which needs no token, for a quarter of an"
        " hour. It takes `Range`, too."
    ),
    416: OpenApiResponse(description="`Range` is outside of the file."),
}
