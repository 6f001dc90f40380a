"""How styles and scripts are stored when they are collected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage

REMOVED = ""


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
