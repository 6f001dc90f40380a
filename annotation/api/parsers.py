from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, JSONParser

from annotation.api.renderers import NDJSON


class JSON(JSONParser):
    """REST framework's, without its 500 for a body of a hundred thousand brackets."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None


class Lines(BaseParser):
    """Says that JSON Lines are welcome, under any of their `NAMES`; they are read one by one, straight from the request, and
    may come in chunks."""

    media_type = NDJSON
    NAMES = (NDJSON, "application/jsonl", "application/jsonlines")
