"""Parts of the OpenAPI document that all operations share."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from annotation.api.errors import PROBLEM


class ApiTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The OpenAPI security scheme of API tokens."""

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
    "404": "There is nothing at this URL.",
    "406": "The response is not available in the format that `Accept` requests.",
    "429": "Too many calls in a minute. `Retry-After` says in how many seconds to try again.",
    "503": "The database, or the store of `Idempotency-Key`s, is unavailable. Nothing was changed: repeat the request.",
}
_WITH_BODY = {
    "409": "It conflicts with the current state; or the request with this `Idempotency-Key` is being executed.",
    "411": "The body is chunked: send `Content-Length`.",
    "413": "The body is too large.",
    "415": "The body is of an unknown type.",
    "422": "The `Idempotency-Key` was used for another request.",
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
    "description": "A key of yours, one per request. Repeating the request within a day returns the first response, "
    "without executing it again.",
}


def add_common_responses(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular: responses that every operation can give, and the header of every POST."""
    for operations in result["paths"].values():
        for method, operation in operations.items():
            responses = operation["responses"]
            common = _EVERYWHERE | (_WITH_BODY if method in ("post", "put", "patch", "delete") else {})
            for status, description in common.items():
                responses.setdefault(status, _problem(description))
            if method == "post":
                operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
            if method == "get" and "application/json" in responses.get("200", {}).get("content", {}):
                responses.setdefault("304", {"description": "`If-None-Match` has the current ETag."})
    return result


def _problem(description: str) -> dict[str, Any]:
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "content": content}
