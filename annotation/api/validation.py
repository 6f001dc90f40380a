"""Validation of request bodies."""

from __future__ import annotations

from collections.abc import Iterable
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
    _refuse_unknown_fields(serializer, serializer.initial_data)


class ObjectIn(Serializer[Any]):
    """An object within a body, which may have no other fields either."""

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        _refuse_unknown_fields(self, data)
        return values


def _refuse_unknown_fields(serializer: Serializer[Any], data: Iterable[str]) -> None:
    known = {name for name, field in serializer.fields.items() if not field.read_only}
    if unknown := sorted(set(data) - known):
        names = f"The fields are {', '.join(sorted(known))}." if known else "There are none here."
        raise ValidationError({name: [f"There is no such field. {names}"] for name in unknown})
