"""What a call brings with it."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer


def body(request: Request, shape: type[BaseSerializer[Any]]) -> dict[str, Any]:
    """The body, checked and completed by the serializer.

    Raises:
        ValidationError: it has another shape, by the names of the fields.
    """
    given = shape(data=request.data)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)
