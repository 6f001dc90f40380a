"""Renderers that let clients request exports by `Accept`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BaseRenderer

from annotation.exports.selection import FILES

NDJSON = "application/x-ndjson"


class NDJSONRenderer(BaseRenderer):
    """Allows `Accept: application/x-ndjson`. Views stream the data themselves; this renders errors, as one line of JSON."""

    media_type = NDJSON
    format = "ndjson"
    charset: str | None = "utf-8"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return json.dumps(data, ensure_ascii=False).encode() + b"\n"


class ParquetRenderer(NDJSONRenderer):
    media_type = FILES["parquet"]
    format = "parquet"
    charset = None


class ZipRenderer(NDJSONRenderer):
    media_type = "application/zip"
    format = "zip"
    charset = None


class TarRenderer(NDJSONRenderer):
    media_type = "application/x-tar"
    format = "tar"
    charset = None
