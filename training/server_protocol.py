"""What every client of a model server knows: the API key, which errors pass, and what their answers say.

The API key is in the environment, `PALATE_API_KEY`, and is sent only to the server with the base URL `PALATE_API_SERVER`:
runs may name several servers, and none must get another one's key.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

KEY_VARIABLE, SERVER_VARIABLE = "PALATE_API_KEY", "PALATE_API_SERVER"

RETRIED_STATUSES = {408, 409, 425, 429}
"""Statuses after which the same request may succeed, besides those from 500 up."""


def api_key(server: str) -> str:
    """The API key, if it belongs to the server with this base URL; empty if not."""
    key, key_server = os.environ.get(KEY_VARIABLE, ""), os.environ.get(SERVER_VARIABLE, "")
    return key if key and key_server.rstrip("/") == server.rstrip("/") else ""


def auth_headers(server: str) -> dict[str, str]:
    """The header with the API key, if it belongs to this server."""
    key = api_key(server)
    return {"Authorization": f"Bearer {key}"} if key else {}


def names_field(field: str, message: str) -> bool:
    """Whether an error message names the field: in quotation marks or, as OpenAI does, after "supplied:"."""
    is_quoted = any(mark + field + mark in message for mark in "'\"`")
    return is_quoted or bool(re.search(rf"supplied: .*\b{field}\b", message))


def error_message(body: bytes) -> str:
    """The message of an error answer, from whichever of the usual places it is in."""
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        return excerpt(body)
    for name in ("error", "message", "detail"):
        if isinstance(content, dict) and name in content:
            content = content[name]
    return excerpt((content if isinstance(content, str) else json.dumps(content)).encode(errors="replace"))


def excerpt(body: bytes) -> str:
    """The start of an answer, on one line."""
    text = " ".join(body[:1000].decode("utf-8", "replace").split())
    return (text if len(text) <= 200 else text[:200] + "…") or "nothing"
