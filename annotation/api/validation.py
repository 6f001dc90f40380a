"""Validation of request bodies."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.serializers import Serializer


def validate_body(request: Request, serializer_class: type[Serializer[Any]]) -> dict[str, Any]:
    """The body, validated by the serializer, with its defaults.

    Raises:
        ValidationError: what is wrong, by field.
    """
    serializer = serializer_class(data=request.data)
    validate(serializer)
    return dict(serializer.validated_data)


def validate(serializer: Serializer[Any]) -> None:
    """Validate what the serializer was given; it may have no other fields.

    Raises:
        ValidationError: what is wrong, by field.
    """
    serializer.is_valid(raise_exception=True)
    known = {name for name, field in serializer.fields.items() if not field.read_only}
    if unknown := sorted(set(serializer.initial_data) - known):
        names = f"The fields are {', '.join(sorted(known))}." if known else "There are none here."
        raise ValidationError({name: [f"There is no such field. {names}"] for name in unknown})
