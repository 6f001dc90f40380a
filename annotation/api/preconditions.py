"""`If-Match`: a change is made only to the version of a resource that the client has seen (RFC 9110, section 13.1.1)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from annotation.api import errors

View = Callable[..., HttpResponseBase]


def content_etag(response: HttpResponse) -> str:
    """The ETag of a response: a hash of its content."""
    return f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'


@contextmanager
def serialized(request: HttpRequest) -> Iterator[None]:
    """Requests with `If-Match` for the same URL, one after the other: of two with the same ETag, only one can match."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('if-match'), hashtext(%s))", [request.path])
        yield


def failed_precondition(
    view: View, request: HttpRequest, *args: Any, **kwargs: Any
) -> HttpResponseBase | None:
    """The response to a request whose `If-Match` names another version than the current one; None if it is the current one.

    The current version is what a GET of the same URL returns to the same caller; its refusals are returned as they are.
    """
    expected = [tag.strip() for tag in request.headers["If-Match"].split(",")]
    get = copy.copy(request)
    get.method = "GET"
    response: Any = view(get, *args, **kwargs)
    response = response.render() if hasattr(response, "render") else response
    if response.status_code == 405:
        return errors.problem_response(412, "This URL has no versions: leave out If-Match.")
    if response.status_code != 200:
        refusal: HttpResponseBase = response
        return refusal
    is_stream = not isinstance(response, HttpResponse)
    etag = response.headers.get("ETag", "").removeprefix("W/") if is_stream else content_etag(response)
    if "*" in expected or etag in expected:
        return None
    return errors.problem_response(412, "It was changed since you read it: read it again.", ETag=etag)
