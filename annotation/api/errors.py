"""Every error is JSON: `{"detail": "…"}`, or `{"field": ["…"]}` where a field of the request is to blame."""

from __future__ import annotations

import logging
from typing import Any

from django.db import InterfaceError, OperationalError
from drf_spectacular.utils import OpenApiResponse, extend_schema
from psycopg_pool import PoolTimeout
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

log = logging.getLogger(__name__)


class DatabaseAway(APIException):
    status_code = 503
    default_detail = "The database does not answer. Nothing was changed: send the same again in a moment."
    wait = 5  # becomes Retry-After


class Conflict(APIException):
    status_code = 409


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """REST framework's answer, and a 503 while the database is away."""
    if isinstance(error, (OperationalError, InterfaceError, PoolTimeout)):
        log.error("the database did not answer", exc_info=error)
        error = DatabaseAway()
    return exception_handler(error, context)


@extend_schema(exclude=True)
class NoSuchAddress(APIView):
    """What answers for every address below /api/ that is none."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound("There is nothing at this address: see /api/v1/docs/.")


# --- how the OpenAPI document describes them -------------------------------------------------------------------


class Detail(serializers.Serializer[Any]):
    detail = serializers.CharField()


_sentences = {"type": "array", "items": {"type": "string"}}
_fields = {
    "type": "object",
    "additionalProperties": {"anyOf": [_sentences, {"type": "object"}, {"type": "string"}]},
    "example": {"ranks": ["Every answer needs a rank; missing: B."]},
}
UNAUTHORIZED = {401: OpenApiResponse(Detail, "Not signed in, or the token is unknown or has expired.")}
FORBIDDEN = {403: OpenApiResponse(Detail, "Another role is needed, or a token with the scope `write`.")}
NOT_FOUND = {404: OpenApiResponse(Detail, "There is no such thing, or you are not a member of its project.")}
BAD_FIELDS = {400: OpenApiResponse(_fields, "What is wrong, by the name of the field.")}
CONFLICT = {409: OpenApiResponse(Detail, "It contradicts what is there.")}

READ = UNAUTHORIZED | FORBIDDEN | NOT_FOUND
WRITE = READ | BAD_FIELDS
