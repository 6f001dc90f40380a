"""Cursor pagination of lists."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

CURSOR = OpenApiParameter("cursor", str, description="From `next` or `previous`.")


class ById(CursorPagination):
    """Pages of 100 in the order of ids, stable while rows are added."""

    ordering = "id"
    page_size = 100

    def decode_cursor(self, request: Request) -> Cursor | None:
        cursor = super().decode_cursor(request)
        position = str(cursor.position) if cursor and cursor.position is not None else "0"
        if not (position.isascii() and position.isdigit() and len(position) < 19):
            raise ValidationError({"cursor": ["Follow the links “next” and “previous” unchanged."]})
        return cursor

    def page_response(
        self, rows: QuerySet[Any], request: Request, serializer: type[serializers.BaseSerializer[Any]]
    ) -> Response:
        """One page of the rows, serialized."""
        return self.get_paginated_response(serializer(self.paginate_queryset(rows, request), many=True).data)


class NewestFirst(ById):
    """Pages of 100, newest first. Rows added meanwhile appear on no later page."""

    ordering = "-id"


NEXT, PREVIOUS = "next", "previous"
FOLLOW = "Follow the links “next” and “previous” unchanged, or begin again without `cursor`."


def cursor_link(request: Request, direction: str, position: str) -> str:
    """The address of the page after a position (`NEXT`) or before it (`PREVIOUS`), for lists that are read by keys."""
    cursor = urlsafe_base64_encode(f"{direction} {position}".encode())
    return replace_query_param(request.build_absolute_uri(), "cursor", cursor)


def read_cursor(request: Request) -> tuple[str, str]:
    """`(direction, position)` of the request; the position is empty where there is no cursor.

    Raises:
        ValidationError: it is not one that `cursor_link` wrote.
    """
    cursor = request.query_params.get("cursor")
    if not cursor:
        return NEXT, ""
    try:
        direction, position = urlsafe_base64_decode(cursor).decode().split(" ", 1)
    except ValueError:
        direction = position = ""
    if direction not in (NEXT, PREVIOUS) or not position:
        raise ValidationError({"cursor": [FOLLOW]})
    return direction, position


class Page(serializers.Serializer[Any]):
    """The fields of every page; subclasses add `results`."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
