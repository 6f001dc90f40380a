"""Lists in an order that the caller chooses: the sorts of the pages' lists, with cursors that need no offset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.api.pagination import FOLLOW, NEXT, PREVIOUS, cursor_link, read_cursor
from annotation.lists.definition import ListDefinition, SortKey
from annotation.lists.keyset import SortedRows

PAGE_SIZE = 100


class Ordering:
    """The orders of a list: those that the heads of its columns offer on the page. `own` is the one without `ordering`;
    empty where that is none of these."""

    def __init__(self, definition: ListDefinition, *, own: str, note: str = "") -> None:
        self.sorts: Mapping[str, SortKey] = {
            column.name: column.key
            for column in definition.columns
            if column.label and column.key is not None
        }
        assert not own or own.removeprefix("-") in self.sorts, own
        self.own = own
        self.names = [sign + name for name in self.sorts for sign in ("", "-")]
        self.parameter = OpenApiParameter(
            "ordering",
            str,
            enum=self.names,
            default=own or None,
            description=f"The lowest values first, after a `-` the highest; rows without a value come last. {note}".strip(),
        )

    def read(self, request: Request) -> str:
        """The order that is asked for, or `own`.

        Raises:
            ValidationError: `ordering` is none of the names.
        """
        name = request.query_params.get("ordering")
        if name is None:
            return self.own
        if name not in self.names:
            raise ValidationError({"ordering": [f"{name[:40]!r} is none of: {', '.join(self.names)}."]})
        return name

    def sorted(self, rows: Any, request: Request) -> SortedRows:
        """
        Raises:
            ValidationError: as `read`.
        """
        name = self.read(request)
        return SortedRows(rows, self.sorts[name.removeprefix("-")], name.startswith("-"))

    def page_response(
        self,
        rows: Any,
        request: Request,
        serializer: type[serializers.BaseSerializer[Any]],
        *,
        shown: Callable[[Iterable[Any]], Iterable[Any]] = list,
    ) -> Response:
        """One page of the rows, a query set or a list. shown: what is serialized of those of the page.

        Raises:
            ValidationError: the order is unknown, or the cursor is none of the order's.
        """
        ordered = self.sorted(rows, request)
        direction, position = self._read_cursor(request, ordered)
        if direction == PREVIOUS:
            found = ordered.before(position, PAGE_SIZE + 1)
            has_previous, has_next = len(found) > PAGE_SIZE, True
            found = found[-PAGE_SIZE:]
        else:
            found = ordered.after(position, PAGE_SIZE + 1)
            has_previous, has_next = bool(position), len(found) > PAGE_SIZE
            found = found[:PAGE_SIZE]
        return Response(
            {
                "next": self._link(request, NEXT, ordered.position(found[-1]))
                if found and has_next
                else None,
                "previous": self._link(request, PREVIOUS, ordered.position(found[0]))
                if found and has_previous
                else None,
                "results": serializer(shown(found), many=True).data,
            }
        )

    def _link(self, request: Request, direction: str, position: str) -> str:
        return cursor_link(request, direction, f"{self.read(request)} {position}")

    def _read_cursor(self, request: Request, ordered: SortedRows) -> tuple[str, str]:
        """`(direction, position)`; the beginning where there is no cursor."""
        direction, text = read_cursor(request)
        if not text:
            return direction, ""
        name, _, position = text.partition(" ")
        if name != self.read(request) or not ordered.is_position(position):
            raise ValidationError({"cursor": [FOLLOW]})
        return direction, position
