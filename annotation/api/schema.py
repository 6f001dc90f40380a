"""What the OpenAPI document says of all operations alike."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from annotation.api.errors import PROBLEM


class ApiTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document describes the tokens."""

    target_class = "annotation.api.authentication.ApiTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from your account page. `read` changes nothing, `annotate` judges as well, `lead` may do "
            "all that you may do.",
        }


_EVERYWHERE = {
    "400": "The body, or a parameter, cannot be read.",
    "404": "There is nothing at this address.",
    "406": "The answer cannot be had as what `Accept` asks for.",
    "429": "More calls in a minute than one caller may make. `Retry-After` says in how many seconds to come back.",
    "503": "The database is away, or what keeps `Idempotency-Key`s. Nothing was changed: send the same again.",
}
_WITH_BODY = {
    "409": "It contradicts what is there; or the same `Idempotency-Key` is at work right now.",
    "411": "The body comes in chunks: send `Content-Length`.",
    "413": "The body is too large.",
    "415": "The body is of an unknown type.",
    "422": "The `Idempotency-Key` was used for something else.",
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
    "description": "Yours, one per thing to do. Sending the same again within a day answers with what was answered before, "
    "and does nothing.",
}


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular: the answers that every operation can give, and the header that every POST
    takes."""
    for operations in result["paths"].values():
        for method, operation in operations.items():
            answers = operation["responses"]
            known = _EVERYWHERE | (_WITH_BODY if method in ("post", "put", "patch", "delete") else {})
            for status, words in known.items():
                answers.setdefault(status, _problem(words))
            if method == "post":
                operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
            if method == "get" and "application/json" in answers.get("200", {}).get("content", {}):
                answers.setdefault("304", {"description": "`If-None-Match` names what you have already."})
    return result


def _problem(words: str) -> dict[str, Any]:
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": words, "content": content}
