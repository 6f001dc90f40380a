"""Every error is a problem (RFC 9457): `detail` says in a sentence what is wrong, `errors` by the name of the field."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from psycopg_pool import PoolTimeout
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from annotation.api.renderers import NDJSON

log = logging.getLogger(__name__)
PROBLEM = "application/problem+json"


class DatabaseAway(APIException):
    status_code = 503
    default_detail = "The database does not answer. Nothing was changed: send the same again in a moment."
    wait = 5  # becomes Retry-After


class Conflict(APIException):
    status_code = 409


class TooLarge(APIException):
    status_code = 413


@contextmanager
def by_field(kind: Any) -> Iterator[None]:
    """What an action refuses within the context, with an error of this kind, is refused with its sentence under the field
    that it names."""
    try:
        yield
    except kind as error:
        raise ValidationError({error.field: [str(error)]}) from error


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """REST framework's answer as a problem; a 503 while the database is away, a 413 for more than is read into memory."""
    if isinstance(error, (OperationalError, InterfaceError, PoolTimeout)):
        log.error("the database did not answer", exc_info=error)
        error = DatabaseAway()
    if isinstance(error, RequestDataTooBig):
        megabytes = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20
        error = TooLarge(f"At most {megabytes} MB are taken here. Send more prompts as lines: {NDJSON}.")
    answer = exception_handler(error, context)
    if answer is not None:
        answer.data = problem_of(answer.status_code, answer.data)
        answer.content_type = PROBLEM
    return answer


def problem(status: int, detail: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    } | more


def problem_of(status: int, data: Any) -> dict[str, Any]:
    """From what REST framework says: `{"detail": sentence}`, sentences by field, or a list of either."""
    data = _sendable(data)
    if isinstance(data, dict) and set(data) == {"detail"}:
        said = data["detail"]
        return problem(status, str(said[0] if isinstance(said, list) else said))
    errors = data if isinstance(data, dict) else {"body": data}
    errors = {"body" if name == "non_field_errors" else name: said for name, said in errors.items()}
    return problem(status, "; ".join(_sentences(errors))[:1000], errors=errors)


def _sendable(said: Any) -> Any:
    """The same with halves of surrogate pairs spelled out: JSON can bring them in, but no UTF-8 can take them out."""
    if isinstance(said, dict):
        return {_sendable(key): _sendable(value) for key, value in said.items()}
    if isinstance(said, (list, tuple)):
        return [_sendable(one) for one in said]
    return said.encode(errors="backslashreplace").decode() if isinstance(said, str) else said


def _sentences(errors: Any, name: str = "") -> list[str]:
    if isinstance(errors, dict):
        return [
            sentence
            for key, said in errors.items()
            for sentence in _sentences(said, f"{name}.{key}" if name else str(key))
        ]
    if isinstance(errors, list):
        return [sentence for said in errors for sentence in _sentences(said, name)]
    return [f"{name}: {errors}"]


def as_answer(status: int, detail: str, **headers: str) -> HttpResponse:
    """A problem, where REST framework is not at work."""
    return JsonResponse(problem(status, detail), status=status, content_type=PROBLEM, headers=headers)


@extend_schema(exclude=True)
class NoSuchAddress(APIView):
    """What answers for every address below /api/ that is none."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound("There is nothing at this address: see /api/v1/docs/.")


# --- how the OpenAPI document describes them -------------------------------------------------------------------


class Detail(serializers.Serializer[Any]):
    type = serializers.CharField(help_text="about:blank: the status says it.")
    title = serializers.CharField(help_text="The status in words.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, in a sentence.")


class Problem(Detail):
    errors = serializers.DictField(  # type: ignore[assignment]
        required=False,
        help_text='What is wrong, by the name of the field: {"ranks": ["Every answer needs a rank; missing: B."]}. `body` is '
        "the whole.",
    )


def _documented(status: int, serializer: Any, description: str) -> dict[tuple[int, str], Any]:
    return {(status, PROBLEM): OpenApiResponse(serializer, description)}


UNAUTHORIZED = _documented(401, Detail, "Not signed in, or the token is unknown or has expired.")
FORBIDDEN = _documented(403, Detail, "Another role is needed, or a token with a wider scope.")
NOT_FOUND = _documented(404, Detail, "There is no such thing, or you are not a member of its project.")
BAD_FIELDS = _documented(400, Problem, "What is wrong, by the name of the field.")
CONFLICT = _documented(409, Detail, "It contradicts what is there.")
TOO_LARGE = _documented(413, Detail, "The body is too large.")

READ = UNAUTHORIZED | FORBIDDEN | NOT_FOUND
WRITE = READ | BAD_FIELDS
