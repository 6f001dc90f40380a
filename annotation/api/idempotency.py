"""What every door of the API has around it: `Idempotency-Key` on the way in, an ETag on the way out."""

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
from annotation.api import errors
from annotation.api.parsers import Lines

log = logging.getLogger(__name__)
Answer = Callable[[], HttpResponseBase]
Checks = list[access.Check]
KEPT_S = 24 * 3600
# longer than any POST takes: sent again with a key that is free once more, it would be done twice. What fails frees its key
# at once; only a process that is killed leaves it taken, so it is not for days
AT_WORK_S = 3600
LARGEST = 2**20
NOT_KEPT = (401, 403, 429)
WITHOUT_A_LENGTH = "Send Content-Length: only JSON Lines are read in chunks."
KEYS_AWAY = "No Idempotency-Key can be kept now. Nothing was changed: send the same again in a moment."
WITHHELD = "This was done before. Its answer held a secret, which is kept nowhere: remove what was made, and make it anew."


def guarded(module: str) -> list[URLPattern]:
    """A module's URL patterns, each door with its guard."""
    patterns: list[URLPattern] = import_module(module).urlpatterns
    for pattern in patterns:
        if not hasattr(pattern.callback, "is_guarded"):
            pattern.callback = _guard(pattern.callback)
    return patterns


def _guard(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    @wraps(view)
    def called(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        def answer() -> HttpResponseBase:
            response: Any = view(request, *args, **kwargs)
            return response.render() if hasattr(response, "render") else response

        if _is_of_no_length(view, request):
            return errors.as_answer(411, WITHOUT_A_LENGTH)
        if request.method == "POST" and "Idempotency-Key" in request.headers:
            return _once(
                request, answer, lambda kept, checks: _let_in(view, request, kept, checks, *args, **kwargs)
            )
        response = answer()
        return _conditional(request, response) if request.method in ("GET", "HEAD") else response

    called.is_guarded = True  # type: ignore[attr-defined]
    return called


def _is_of_no_length(view: Any, request: HttpRequest) -> bool:
    """Whether it has a body in chunks, which REST framework would take for none."""
    as_it_comes = Lines in view.cls.parser_classes and request.content_type in Lines.NAMES
    return "Transfer-Encoding" in request.headers and not as_it_comes


def _conditional(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """With an ETag; without its body where the client has it already."""
    if response.status_code != 200 or not isinstance(response, HttpResponse) or response.has_header("ETag"):
        return response
    patch_cache_control(response, private=True, no_cache=True)
    response["ETag"] = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    return get_conditional_response(request, etag=response["ETag"], response=response) or response


def _let_in(
    view: Any, request: HttpRequest, kept: HttpResponse, checks: Checks, *args: Any, **kwargs: Any
) -> HttpResponseBase:
    """What was kept, for who would be let in at this door now: somebody whose token is revoked, or who is no member with the
    role any more, is told that instead."""
    door = view.cls(**view.initkwargs)

    def post(request: Request, *_: Any, **__: Any) -> HttpResponse:
        for slug, roles in checks:
            access.member_for(request.user, slug, *map(access.Role, roles))
        return kept

    door.post = post
    door.setup(request, *args, **kwargs)
    response: Any = door.dispatch(request, *args, **kwargs)
    return response.render() if hasattr(response, "render") else response


def _once(
    request: HttpRequest, answer: Answer, let_in: Callable[[HttpResponse, Checks], HttpResponseBase]
) -> HttpResponseBase:
    """The answer; given the same key again, the same answer, and nothing is done."""
    key = request.headers["Idempotency-Key"]
    if not re.fullmatch(r"[!-~]{1,200}", key):
        return errors.as_answer(400, "Idempotency-Key: give 1 to 200 visible ASCII characters.")
    place, what = _place(request, key), _fingerprint(request)
    try:
        if not cache.add(place, {"what": what}, AT_WORK_S):
            before = cache.get(place)
            return let_in(_again(before, what), before["checks"] if before and "checks" in before else [])
    except RedisError as error:
        log.warning("no Idempotency-Key can be kept: %s", error)
        return errors.as_answer(503, KEYS_AWAY, **{"Retry-After": "5"})
    try:
        with access.record_checks() as checks:
            response = answer()
    except BaseException:
        _forget(place)
        raise
    if not isinstance(response, HttpResponse) or not _to_be_kept(response):
        _forget(place)
        return response
    holds_a_secret = "no-store" in response.headers.get("Cache-Control", "")
    again = errors.as_answer(409, WITHHELD) if holds_a_secret else response
    kept = {
        "what": what,
        "checks": checks,
        "status": again.status_code,
        "type": again.headers.get("Content-Type"),
        "body": again.content,
    }
    cache.set(place, kept, KEPT_S)
    return response


def _forget(place: str) -> None:
    try:
        cache.delete(place)
    except RedisError as error:
        log.warning("an Idempotency-Key is not given back: %s", error)


def _again(kept: dict[str, Any] | None, what: str) -> HttpResponse:
    if kept is not None and kept["what"] != what:
        return errors.as_answer(422, "This Idempotency-Key was used for something else.")
    if kept is None or "status" not in kept:
        return errors.as_answer(
            409, "The same Idempotency-Key is at work: ask again in a moment.", **{"Retry-After": "1"}
        )
    return HttpResponse(
        kept["body"],
        status=kept["status"],
        headers={"Content-Type": kept["type"] or "", "Idempotency-Replayed": "true"},
    )


def _to_be_kept(response: HttpResponse) -> bool:
    return (
        response.status_code < 500
        and response.status_code not in NOT_KEPT
        and len(response.content) <= LARGEST
    )


def _place(request: HttpRequest, key: str) -> str:
    """Of the caller and their key: nobody sees another's answer."""
    caller = request.headers.get("Authorization") or request.COOKIES.get("sessionid", "")
    return "idempotency:" + hashlib.sha256(f"{caller}\n{key}".encode()).hexdigest()


def _fingerprint(request: HttpRequest) -> str:
    """Of what is to be done. A long body is read as it comes, so only its length counts."""
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    body = request.body if length <= LARGEST and "Transfer-Encoding" not in request.headers else b""
    text = f"{request.get_full_path()}\n{length}\n".encode()
    return hashlib.sha256(text + body).hexdigest()
