"""Prompts and their responses: import and list."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import UnsupportedMediaType, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions.import_rows import import_lines
from annotation.api import errors, filtering
from annotation.api.pagination import CURSOR, ById, Page
from annotation.api.parsers import JsonLinesParser, JsonParser
from annotation.api.renderers import NDJSON
from annotation.api.view import ApiView
from annotation.models import Prompt
from annotation.models import Response as Answer


class MessageOut(serializers.Serializer[Any]):
    role = serializers.CharField(help_text="system, user or assistant.")
    content = serializers.CharField()


class AnswerOut(serializers.ModelSerializer[Answer]):
    author = serializers.CharField(source="author.name")

    class Meta:
        model = Answer
        fields = ("id", "author", "text", "metadata")


class PromptOut(serializers.ModelSerializer[Prompt]):
    id = serializers.CharField(source="external_id")
    prompt = MessageOut(source="messages", many=True)
    responses = AnswerOut(many=True)

    class Meta:
        model = Prompt
        fields = ("id", "prompt", "responses", "tags", "metadata", "split", "created_at")


class PromptPage(Page):
    results = PromptOut(many=True)


class PromptIn(serializers.Serializer[Any]):
    """For the OpenAPI document only: `imports.prompt_schema.parse_prompt` validates prompts."""

    id = serializers.CharField(required=False, help_text="Left out, a hash of the prompt is the id.")
    prompt = serializers.JSONField(
        help_text="A text, or messages: [{role, content}, …], the last one the user's."
    )
    responses = serializers.JSONField(
        required=False,
        help_text="2 to 9, each a text or {text, author, metadata}. They become an item of the queue.",
    )
    tags = serializers.ListField(child=serializers.CharField(), required=False)
    metadata = serializers.DictField(
        required=False, help_text="An object of your own, which exports have again."
    )


class LineErrorOut(serializers.Serializer[Any]):
    line = serializers.IntegerField(help_text="Counted from 1; in a JSON list, the element.")
    message = serializers.CharField()


class ImportReportOut(serializers.Serializer[Any]):
    prompts = serializers.IntegerField(help_text="How many are new.")
    responses = serializers.IntegerField()
    items = serializers.IntegerField(help_text="How many were added to the queue.")
    judgments = serializers.IntegerField(help_text="How many imported judgments came with them.")
    unchanged = serializers.IntegerField(help_text="How many lines changed nothing.")
    errors = LineErrorOut(many=True)  # type: ignore[assignment]


class ImportRefusedOut(errors.Detail):
    errors = LineErrorOut(many=True, required=False)  # type: ignore[assignment]


_REFUSED = OpenApiResponse(
    ImportRefusedOut,
    "Nothing was imported: `errors` names the lines, or `detail` says why the body could not be read.",
)
_EXAMPLE = {
    "id": "q1",
    "prompt": "What is the capital of France?",
    "responses": ["Paris.", {"text": "Lyon, I think.", "author": "small-model"}],
    "tags": ["geography"],
}


class PromptsApi(ApiView):
    parser_classes = (JsonParser, JsonLinesParser)

    @extend_schema(
        summary="The project's prompts",
        operation_id="prompts_list",
        parameters=[CURSOR, *filtering.PARAMETERS],
        responses={200: PromptPage} | errors.READ | errors.BAD_FIELDS,
        tags=["prompts"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """In the order of their ids, 100 per page, with their responses. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        prompts = Prompt.objects.filter(project=project, **filtering.prompt_filters(request))
        return ById().page_response(prompts.prefetch_related("responses__author"), request, PromptOut)

    @extend_schema(
        summary="Import prompts and responses",
        operation_id="prompts_import",
        request={NDJSON: PromptIn, "application/json": PromptIn(many=True)},
        responses={200: ImportReportOut, (400, errors.PROBLEM): _REFUSED} | errors.READ | errors.TOO_LARGE,
        examples=[
            OpenApiExample("a line", _EXAMPLE, request_only=True, media_type=NDJSON),
            OpenApiExample("a list", [_EXAMPLE], request_only=True, media_type="application/json"),
        ],
        tags=["prompts"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """One JSON object per line, or a JSON list of them. If one is invalid, nothing is imported.

        Repeating the request changes nothing. Two or more responses of a prompt become an item of the queue. For leads.
        """
        project = project_for(request.user, slug, Role.LEAD)
        report = import_lines(project=project, lines=_read_lines(request), actor=current_user(request))
        counts = {name: getattr(report, name) for name in ("prompts", "responses", "items", "unchanged")}
        refused = [{"line": line, "message": message} for line, message in report.errors]
        if not refused:
            return Response({**counts, "errors": []})
        lines = len(refused) + report.more_errors
        problem = errors.problem(
            400, f"Nothing was imported: {lines:,} line{'s are' if lines > 1 else ' is'} invalid."
        )
        return Response({**problem, **counts, "errors": refused}, status=400, content_type=errors.PROBLEM)


def _read_lines(request: Request) -> Iterable[bytes]:
    content_type = (request.content_type or "").partition(";")[0].strip().lower()
    if content_type in JsonLinesParser.MEDIA_TYPES:
        return _read_limited(request._request)
    if content_type != "application/json":
        raise UnsupportedMediaType(
            content_type,
            f"Send JSON Lines as {NDJSON}, or a JSON list as application/json, not {content_type!r}.",
        )
    if not isinstance(request.data, list):
        raise ValidationError({"detail": "The body is not a JSON list of prompts."})
    return (json.dumps(element).encode() for element in request.data)


def _read_limited(body: HttpRequest) -> Iterator[bytes]:
    """The body's lines.

    Raises:
        TooLarge: the body is larger than `MAX_IMPORT_BYTES`.
    """
    limit = settings.MAX_IMPORT_BYTES
    if int(body.META.get("CONTENT_LENGTH") or 0) > limit:
        raise errors.TooLarge(_too_large(limit))
    read = 0
    while line := body.readline(limit - read + 1):  # a line may be of any length
        read += len(line)
        if read > limit:
            raise errors.TooLarge(_too_large(limit))
        yield line


def _too_large(limit: int) -> str:
    return f"The limit of an import is {limit / 2**20:.0f} MB. Send it in parts: nothing of this one was imported."
