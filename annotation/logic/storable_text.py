"""Texts and JSON that PostgreSQL cannot store, although JSON and forms can bring them in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from annotation.logic.translation import gettext as _

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class UnstorableError(ValueError):
    """Why PostgreSQL cannot store a value, in a sentence."""


def storage_problem(text: str) -> str:
    """Why PostgreSQL cannot store a text, as the end of a sentence that begins with its name; empty where it can."""
    if "\0" in text:
        return _("holds a null byte")
    if _LONE_SURROGATE.search(text):
        return _("holds half of a character (a lone surrogate, \\ud800 to \\udfff)")
    return ""


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot store: for a program's own texts, which must not fail by it."""
    return text.replace("\0", "").encode(errors="replace").decode()


def dump_json(data: Any) -> str:
    """The value as JSON.

    Raises:
        UnstorableError: a text in it cannot be stored, or a number is infinite or not a number.
    """
    for text in _texts(data):
        if problem := storage_problem(text):
            raise UnstorableError(_("The text %(problem)s.") % {"problem": problem})
    try:
        return json.dumps(data, allow_nan=False)
    except ValueError:
        raise UnstorableError(_("A number is infinite, or not a number.")) from None


def _texts(data: Any) -> Iterator[str]:
    """Every text in a JSON value, keys included."""
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            pending += value
