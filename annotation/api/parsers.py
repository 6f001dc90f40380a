"""Parsers of request bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, JSONParser

from annotation.api.renderers import NDJSON


class JsonParser(JSONParser):
    """REST framework's parser, with a 400 instead of a 500 for deeply nested JSON."""

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


class JsonLinesParser(BaseParser):
    """Accepts JSON Lines under their `MEDIA_TYPES`. The view reads the lines from the request itself, so that a body may be
    chunked and of any length."""

    media_type = NDJSON
    MEDIA_TYPES = (NDJSON, "application/jsonl", "application/jsonlines")
