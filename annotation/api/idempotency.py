"""The wrapper of every API view: `Idempotency-Key` for POST, `ETag` for GET, `If-Match`, and `Content-Length` for bodies."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern
from django.utils.cache import get_conditional_response, patch_cache_control
from redis.exceptions import RedisError
from rest_framework.request import Request

from annotation import access
from annotation.api import errors, preconditions
from annotation.api.parsers import JsonLinesParser

log = logging.getLogger(__name__)
GetResponse = Callable[[], HttpResponseBase]
Checks = list[access.Check]
EXPIRY_S = 24 * 3600
# longer than any POST takes: after it, a repeated request would be executed twice. A failed request releases its key at
# once; only a killed process leaves it locked, so this is not days
LOCK_S = 3600
MAX_BODY = 2**20
NOT_STORED = (401, 403, 429)
LENGTH_REQUIRED = "Send Content-Length: only JSON Lines may be chunked."
KEYS_UNAVAILABLE = (
    "Idempotency-Keys cannot be stored now. Nothing was changed: repeat the request in a moment."
)
NOT_REPLAYED = (
    "This request was executed before. Its response contained a secret, which is not stored: delete what it created, and "
    "create it again with another key."
)


def load_api_urls(module: str) -> list[URLPattern]:
    """A module's URL patterns, with every view wrapped."""
    patterns: list[URLPattern] = import_module(module).urlpatterns
    for pattern in patterns:
        if not hasattr(pattern.callback, "is_wrapped"):
            pattern.callback = _wrap_view(pattern.callback)
    return patterns


def _wrap_view(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        def answer() -> HttpResponseBase:
            response: Any = view(request, *args, **kwargs)
            return response.render() if hasattr(response, "render") else response

        get_response: GetResponse = answer
        if _lacks_length(view, request):
            return errors.problem_response(411, LENGTH_REQUIRED)
        if "If-Match" in request.headers and request.method not in ("GET", "HEAD", "OPTIONS"):
            get_response = _if_it_matches(get_response, view, request, *args, **kwargs)
        if request.method == "POST" and "Idempotency-Key" in request.headers:
            return _execute_once(
                request,
                get_response,
                lambda stored, checks: _replay(view, request, stored, checks, *args, **kwargs),
            )
        response = get_response()
        return _add_etag(request, response) if request.method in ("GET", "HEAD") else response

    wrapped.is_wrapped = True  # type: ignore[attr-defined]
    return wrapped


def _lacks_length(view: Any, request: HttpRequest) -> bool:
    """Whether the body is chunked, which REST framework would read as empty."""
    may_be_chunked = (
        JsonLinesParser in view.cls.parser_classes and request.content_type in JsonLinesParser.MEDIA_TYPES
    )
    return "Transfer-Encoding" in request.headers and not may_be_chunked


def _if_it_matches(
    get_response: GetResponse, view: Any, request: HttpRequest, *args: Any, **kwargs: Any
) -> GetResponse:
    def checked() -> HttpResponseBase:
        with preconditions.serialized(request):
            return preconditions.failed_precondition(view, request, *args, **kwargs) or get_response()

    return checked


def _add_etag(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The response with an ETag; 304 without a body if the client has it already."""
    if response.status_code != 200 or not isinstance(response, HttpResponse) or response.has_header("ETag"):
        return response
    patch_cache_control(response, private=True, no_cache=True)
    response["ETag"] = preconditions.content_etag(response)
    return get_conditional_response(request, etag=response["ETag"], response=response) or response


def _replay(
    view: Any, request: HttpRequest, stored: HttpResponse, checks: Checks, *args: Any, **kwargs: Any
) -> HttpResponseBase:
    """The stored response, if the caller still has access: the view's authentication and permissions, and the checks of
    membership that the first request passed, are repeated."""
    instance = view.cls(**view.initkwargs)

    def post(request: Request, *_: Any, **__: Any) -> HttpResponse:
        for slug, roles in checks:
            access.member_for(request.user, slug, *map(access.Role, roles))
        return stored

    instance.post = post
    instance.setup(request, *args, **kwargs)
    response: Any = instance.dispatch(request, *args, **kwargs)
    return response.render() if hasattr(response, "render") else response


def _execute_once(
    request: HttpRequest,
    get_response: GetResponse,
    replay: Callable[[HttpResponse, Checks], HttpResponseBase],
) -> HttpResponseBase:
    """The response; for a repeated key, the stored response, without executing the request again."""
    key = request.headers["Idempotency-Key"]
    if not re.fullmatch(r"[!-~]{1,200}", key):
        return errors.problem_response(400, "Idempotency-Key: give 1 to 200 visible ASCII characters.")
    cache_key, fingerprint = _cache_key(request, key), _fingerprint(request)
    try:
        if not cache.add(cache_key, {"fingerprint": fingerprint}, LOCK_S):
            entry = cache.get(cache_key) or {}
            return replay(_stored_response(entry, fingerprint), entry.get("checks", []))
    except RedisError as error:
        log.warning("Idempotency-Keys cannot be stored: %s", error)
        return errors.problem_response(503, KEYS_UNAVAILABLE, **{"Retry-After": "5"})
    try:
        with access.record_checks() as checks:
            response = get_response()
    except BaseException:
        _release(cache_key)
        raise
    if not isinstance(response, HttpResponse) or not _should_store(response):
        _release(cache_key)
        return response
    has_secret = "no-store" in response.headers.get("Cache-Control", "")
    stored = errors.problem_response(409, NOT_REPLAYED) if has_secret else response
    entry = {
        "fingerprint": fingerprint,
        "checks": checks,
        "status": stored.status_code,
        "type": stored.headers.get("Content-Type"),
        "body": stored.content,
    }
    cache.set(cache_key, entry, EXPIRY_S)
    return response


def _release(cache_key: str) -> None:
    try:
        cache.delete(cache_key)
    except RedisError as error:
        log.warning("an Idempotency-Key cannot be released: %s", error)


def _stored_response(entry: dict[str, Any], fingerprint: str) -> HttpResponse:
    """The response of the first request; 422 if that was another request, 409 while it is being executed."""
    if entry.get("fingerprint", fingerprint) != fingerprint:
        return errors.problem_response(422, "This Idempotency-Key was used for another request.")
    if "status" not in entry:
        return errors.problem_response(
            409,
            "The request with this Idempotency-Key is being executed: repeat it in a moment.",
            **{"Retry-After": "1"},
        )
    return HttpResponse(
        entry["body"],
        status=entry["status"],
        headers={"Content-Type": entry["type"] or "", "Idempotency-Replayed": "true"},
    )


def _should_store(response: HttpResponse) -> bool:
    return (
        response.status_code < 500
        and response.status_code not in NOT_STORED
        and len(response.content) <= MAX_BODY
    )


def _cache_key(request: HttpRequest, key: str) -> str:
    """A hash of the caller's credentials and the key, so that nobody gets another's response."""
    caller = request.headers.get("Authorization") or request.COOKIES.get("sessionid", "")
    return "idempotency:" + hashlib.sha256(f"{caller}\n{key}".encode()).hexdigest()


def _fingerprint(request: HttpRequest) -> str:
    """SHA-256 of the URL and the body; detects a key reused for another request. Of a long body, which is not read into
    memory, only the length counts."""
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    body = request.body if length <= MAX_BODY and "Transfer-Encoding" not in request.headers else b""
    text = f"{request.get_full_path()}\n{length}\n".encode()
    return hashlib.sha256(text + body).hexdigest()
