"""Long lists, a page at a time."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

CURSOR = OpenApiParameter("cursor", str, description="As `next` and `previous` give it.")


class ById(CursorPagination):
    """Pages of 100 in the order in which the rows came in: what arrives meanwhile moves nothing."""

    ordering = "id"
    page_size = 100

    def decode_cursor(self, request: Request) -> Cursor | None:
        cursor = super().decode_cursor(request)
        position = str(cursor.position) if cursor and cursor.position is not None else "0"
        if not (position.isascii() and position.isdigit() and len(position) < 19):
            raise ValidationError({"cursor": ["Follow the links “next” and “previous” as they were given."]})
        return cursor

    def answer(
        self, rows: QuerySet[Any], request: Request, serializer: type[serializers.BaseSerializer[Any]]
    ) -> Response:
        """A page of the rows, each as the serializer writes it."""
        return self.get_paginated_response(serializer(self.paginate_queryset(rows, request), many=True).data)


class NewestFirst(ById):
    """The same from the other end. What arrives meanwhile is on no page that is still to come."""

    ordering = "-id"


class Page(serializers.Serializer[Any]):
    """What every list answers; subclasses add `results`."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
