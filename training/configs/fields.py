"""One setting: its type, its bounds, and the errors for values outside of them."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import field
from typing import Any

Value = int | float | bool | str

HUB_MODEL = re.compile(r"hub:(?P<id>[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?)@(?P<revision>\w[\w./-]*)")
"""A model of a hub: its id there, and a commit, tag or branch."""


def gettext_noop(text: str) -> str:
    """The text itself: marks a text that Django translates where a form or a page shows it."""
    return text


_ = gettext_noop


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type or out of bounds.

    field: its name. message: the reason, a sentence, in English. text, values: the same before its placeholders are filled
    in, to translate it (`training.errors.message_of`).
    """

    def __init__(self, field: str, text: str, **values: object) -> None:
        self.field, self.text, self.values = field, text, values
        self.message = text % values if values else text
        super().__init__(f"{field}: {self.message}")


def setting(
    default: Value,
    label: str,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with the metadata of a form field: label, help, min, max (inclusive), choices."""
    metadata = {"label": label, "help": help, "min": min, "max": max, "choices": choices}
    return field(default=default, metadata=metadata)


def split_names(text: str) -> list[str]:
    """The names in a setting that takes several, separated by commas."""
    return [name for part in text.split(",") if (name := part.strip())]


_TYPES: dict[str, tuple[type, str]] = {
    "int": (int, _("must be a whole number, not %(value)s.")),
    "float": (float, _("must be a number, not %(value)s.")),
    "bool": (bool, _("must be true or false, not %(value)s.")),
    "str": (str, _("must be text, not %(value)s.")),
}
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # valid in JSON, not in the database


def checked(item: dataclasses.Field[Any], value: object) -> Any:
    """The value; for a float field a whole number as a float. Raises ConfigError as `check` does."""
    if item.type == "float" and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    check(item, value)
    return value


def check(item: dataclasses.Field[Any], value: object) -> None:
    """Raise ConfigError unless `value` has the field's type and is within its bounds and choices."""
    expected, text = _TYPES[str(item.type)]
    if type(value) is not expected:
        raise ConfigError(item.name, text, value=repr(value))
    choices, low, high = item.metadata["choices"], item.metadata["min"], item.metadata["max"]
    if choices is not None and value not in choices:
        text = _("must be one of %(choices)s, not %(value)s.")
        raise ConfigError(item.name, text, choices=", ".join(choices), value=repr(value))
    if isinstance(value, str) and _NOT_TEXT.search(value):
        raise ConfigError(item.name, _("holds a null byte, or half of a character."))
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(item.name, _("must be a finite number."))
    if isinstance(value, int | float) and not isinstance(value, bool):
        if low is not None and value < low:
            text = _("must be at least %(bound)s, not %(value)s.")
            raise ConfigError(item.name, text, bound=f"{low:g}", value=_short(value))
        if high is not None and value > high:
            text = _("must be at most %(bound)s, not %(value)s.")
            raise ConfigError(item.name, text, bound=f"{high:g}", value=_short(value))


def _short(number: float) -> str:
    try:
        return f"{number:g}"
    except OverflowError:
        return "one of hundreds of digits"
