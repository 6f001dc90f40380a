"""A row read from an uploaded file, the error for a file that cannot be read, and the limits that keep memory flat."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from annotation.logic.translation import format_number
from annotation.logic.translation import gettext as _

JsonObject = dict[str, Any]

MAX_LINE = 2**24
"""Bytes (characters of a CSV file or a JSON list) of one row: more than any row that can be stored."""
MAX_VALUES = 1_000_000
"""Of one row. Three bytes, `[],`, take 64 in memory."""
NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""What the error handler `surrogateescape` turns undecodable bytes into."""


class FileError(ValueError):
    """Why the whole file cannot be read, in a sentence."""


@dataclass(frozen=True)
class FileRow:
    """One row as it stands in the file, or what is wrong with it. `number` counts from 1: lines, or what
    `file_types.UNITS` says; `position` is how many bytes of the file have been read. `members`: the rows that it was joined
    from, if it was."""

    number: int
    values: JsonObject | None
    position: int
    error: str = ""
    members: tuple[JsonObject, ...] = ()


def check_values(text: str) -> None:
    """
    Raises:
        ValueError: JSON of this text may have more than `MAX_VALUES` values.
    """
    if len(text) > MAX_VALUES and text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise ValueError(_("more than %(most)s values") % {"most": format_number(MAX_VALUES)})


decode_json = json.JSONDecoder(parse_constant=lambda name: None).decode
"""JSON with NaN and infinities, which pandas writes for missing values, as null."""


def parse_json_object(text: str) -> JsonObject:
    """One JSON object.

    Raises:
        ValueError: it is not valid JSON, or not an object; the message says why.
    """
    check_values(text)
    try:
        data = decode_json(text)
    except ValueError as error:
        raise ValueError(_("not JSON: %(error)s") % {"error": error}) from None
    except RecursionError:
        raise ValueError(_("not JSON: nested too deeply")) from None
    if not isinstance(data, dict):
        raise ValueError(_("not a JSON object: each line is {…}"))
    return data
