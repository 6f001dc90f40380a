"""Errors as problem details (RFC 9457): `detail` is a sentence, `errors` has the errors by field."""

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

from annotation.analytics.figures import NotCounted
from annotation.api.renderers import NDJSON
from annotation.store import StoreError

log = logging.getLogger(__name__)
PROBLEM = "application/problem+json"


class DatabaseUnavailable(APIException):
    status_code = 503
    default_detail = "The database is not available. Nothing was changed: repeat the request in a moment."
    wait = 5  # becomes Retry-After


class FiguresNotCounted(APIException):
    status_code = 503
    default_detail = "A worker counts the figures of this large project. Repeat the request in a moment."
    wait = 5


class StoreUnavailable(APIException):
    status_code = 503


class Conflict(APIException):
    status_code = 409


class TooMany(APIException):
    status_code = 429


class TooLarge(APIException):
    status_code = 413


@contextmanager
def as_field_errors(*error_classes: Any) -> Iterator[None]:
    """A context in which errors of an action, of classes with the attribute `field`, become validation errors of that
    field."""
    try:
        yield
    except error_classes as error:
        raise ValidationError({error.field: [str(error)]}) from error


def handle_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """REST framework's response as a problem; 503 while the database is unavailable, 413 for a body that is too large."""
    if isinstance(error, (OperationalError, InterfaceError, PoolTimeout)):
        log.error("the database did not answer", exc_info=error)
        error = DatabaseUnavailable()
    if isinstance(error, RequestDataTooBig):
        megabytes = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20
        error = TooLarge(
            f"The limit of a JSON body is {megabytes} MB. Send more prompts as JSON Lines: {NDJSON}."
        )
    if isinstance(error, NotCounted):
        error = FiguresNotCounted()
    if isinstance(error, StoreError):
        log.error("the store did not answer", exc_info=error)
        error = StoreUnavailable(str(error))
    response = exception_handler(error, context)
    if response is not None:
        response.data = problem_from(response.status_code, response.data)
        response.content_type = PROBLEM
    return response


def problem(status: int, detail: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    } | more


def problem_from(status: int, data: Any) -> dict[str, Any]:
    """A problem from REST framework's error data: `{"detail": sentence}`, sentences by field, or a list of either."""
    data = _escape_surrogates(data)
    if isinstance(data, dict) and set(data) == {"detail"}:
        detail = data["detail"]
        return problem(status, str(detail[0] if isinstance(detail, list) else detail))
    errors = data if isinstance(data, dict) else {"body": data}
    errors = {"body" if name == "non_field_errors" else name: value for name, value in errors.items()}
    return problem(status, "; ".join(_sentences(errors))[:1000], errors=errors)


def _escape_surrogates(data: Any) -> Any:
    """The same data with lone surrogates escaped: JSON can contain them, UTF-8 cannot."""
    if isinstance(data, dict):
        return {_escape_surrogates(key): _escape_surrogates(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_escape_surrogates(element) for element in data]
    return data.encode(errors="backslashreplace").decode() if isinstance(data, str) else data


def _sentences(errors: Any, name: str = "") -> list[str]:
    if isinstance(errors, dict):
        return [
            sentence
            for key, value in errors.items()
            for sentence in _sentences(value, f"{name}.{key}" if name else str(key))
        ]
    if isinstance(errors, list):
        return [sentence for value in errors for sentence in _sentences(value, name)]
    return [f"{name}: {errors}"]


def problem_response(status: int, detail: str, **headers: str) -> HttpResponse:
    """A problem as a plain Django response, outside of REST framework's views."""
    return JsonResponse(problem(status, detail), status=status, content_type=PROBLEM, headers=headers)


@extend_schema(exclude=True)
class UnknownAddressApi(APIView):
    """The response to unknown addresses below /api/."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound("There is nothing at this address: see /api/v1/docs/.")


# --- OpenAPI ----------------------------------------------------------------------------------------------------


class Detail(serializers.Serializer[Any]):
    type = serializers.CharField(help_text="about:blank: see the status.")
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
NOT_FOUND = _documented(404, Detail, "It does not exist, or you are not a member of its project.")
BAD_FIELDS = _documented(400, Problem, "What is wrong, by the name of the field.")
CONFLICT = _documented(409, Detail, "It conflicts with the current state.")
TOO_LARGE = _documented(413, Detail, "The body is too large.")

READ = UNAUTHORIZED | FORBIDDEN | NOT_FOUND
WRITE = READ | BAD_FIELDS
