"""How styles and scripts are stored when they are collected."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Compressed, under names with a hash of the content, also where our JavaScript modules import one another.

    Django's own `support_js_module_import_aggregation` reads every script, and fails at an example in a comment of htmx's.
    """

    patterns = (
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
