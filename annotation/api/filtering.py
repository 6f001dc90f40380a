"""Which of the prompts, or of their items, a list is to hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from annotation.models import Prompt

PARAMETERS = [
    OpenApiParameter("split", str, enum=Prompt.Split.values),
    OpenApiParameter("tag", str, description="Only of prompts with this tag."),
    OpenApiParameter("text", str, description="Only of prompts in which these words stand, in any case."),
]


def by_prompt(request: Request, to_prompt: str = "") -> dict[str, Any]:
    """What `filter` takes; `to_prompt` leads from a row to its prompt.

    Raises:
        ValidationError: a filter has no such value.
    """
    lookups: dict[str, Any] = {
        "split": by_choice(request, "split", Prompt.Split.values),
        "tags__contains": [tag] if (tag := _words(request, "tag")) is not None else None,
        "messages__any_message_contains": _words(request, "text"),
    }
    return {f"{to_prompt}{lookup}": value for lookup, value in lookups.items() if value is not None}


def by_choice(request: Request, name: str, choices: Sequence[str]) -> str | None:
    """
    Raises:
        ValidationError: it is none of them.
    """
    given = request.query_params.get(name)
    if given is not None and given not in choices:
        raise ValidationError({name: [f"{given[:40]!r} is none of: {', '.join(choices)}."]})
    return given


def _words(request: Request, name: str) -> str | None:
    given = request.query_params.get(name)
    if given is not None and "\0" in given:
        raise ValidationError({name: ["It holds a null byte."]})
    return given
