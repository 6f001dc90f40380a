"""Filters of lists of prompts and items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from annotation.models import Prompt

PARAMETERS = [
    OpenApiParameter("split", str, enum=Prompt.Split.values),
    OpenApiParameter("tag", str, description="Only prompts with this tag."),
    OpenApiParameter(
        "metadata", str, description="Only prompts with this entry in their metadata: name=value."
    ),
    OpenApiParameter("text", str, description="Only prompts that contain this text, ignoring case."),
]


def prompt_filters(request: Request, to_prompt: str = "") -> dict[str, Any]:
    """Lookups for `QuerySet.filter`; `to_prompt` is the prefix from a row to its prompt.

    Raises:
        ValidationError: a filter is invalid.
    """
    lookups: dict[str, Any] = {
        "split": choice_parameter(request, "split", Prompt.Split.values),
        "tags__contains": [tag] if (tag := _text_parameter(request, "tag")) is not None else None,
        "metadata__has_entry": _entry_parameter(request, "metadata"),
        "messages__any_message_contains": _text_parameter(request, "text"),
    }
    return {f"{to_prompt}{lookup}": value for lookup, value in lookups.items() if value is not None}


def choice_parameter(request: Request, name: str, choices: Sequence[str]) -> str | None:
    """
    Raises:
        ValidationError: it is not one of the choices.
    """
    value = request.query_params.get(name)
    if value is not None and value not in choices:
        raise ValidationError({name: [f"{value[:40]!r} is none of: {', '.join(choices)}."]})
    return value


def _entry_parameter(request: Request, name: str) -> str | None:
    value = _text_parameter(request, name)
    if value is not None and "=" not in value:
        raise ValidationError({name: ["It is not of the form name=value."]})
    return value


def _text_parameter(request: Request, name: str) -> str | None:
    value = request.query_params.get(name)
    if value is not None and "\0" in value:
        raise ValidationError({name: ["It holds a null byte."]})
    return value
