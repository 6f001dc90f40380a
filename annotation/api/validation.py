"""Validation of request bodies."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer


def validate_body(request: Request, serializer_class: type[BaseSerializer[Any]]) -> dict[str, Any]:
    """The body, validated by the serializer, with its defaults.

    Raises:
        ValidationError: what is wrong, by field.
    """
    serializer = serializer_class(data=request.data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
