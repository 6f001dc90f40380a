#!/usr/bin/env python
"""Django's command line. Where no servers are configured, the embedded ones are started first."""

from __future__ import annotations

import os
import sys


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.conf import settings
    from django.core.management import execute_from_command_line

    from config.embedded import EmbeddedError

    try:
        if settings.EMBEDDED:
            settings.EMBEDDED.start()
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
