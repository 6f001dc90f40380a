"""How styles and scripts are stored when they are collected, and how they are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile
from whitenoise.storage import CompressedManifestStaticFilesStorage

REMOVED = ""


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """Sends each file whole. A response that reads it bit by bit would be read to its end in one more thread, since the server is
    asynchronous."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        body = b""
        if found.file is not None:
            with found.file as file:
                body = file.read()
        response = HttpResponse(body, status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        return response


class StaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Compressed, under names with a hash of the content, also where our JavaScript modules import one another; without the
    comments in our own styles.

    Django's own `support_js_module_import_aggregation` reads every script, and fails at an example in a comment of htmx's.
    """

    patterns = (
        ("css/*.css", ((r"(?s)(?P<matched>/\*.*?\*/\n*)", REMOVED),)),
        *CompressedManifestStaticFilesStorage.patterns,
        (
            "js/*.js",
            (
                (
                    r"""(?m)(?P<matched>(?P<keyword>\bfrom|^import) "(?P<url>\.[^"]+)")""",
                    '%(keyword)s "%(url)s"',
                ),
            ),
        ),
    )

    def url_converter(
        self, name: str, hashed_files: Any, template: str | None = None
    ) -> Callable[[Any], str]:
        if template == REMOVED:
            return lambda _match: ""
        return super().url_converter(name, hashed_files, template)
