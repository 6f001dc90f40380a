"""A pytest plugin: real PostgreSQL and Valkey, started before Django reads its settings.

They are the embedded ones, with flushing to disk off, under var/test; DATABASE_URL and REDIS_URL replace them.
PALATE_TEST_VAR gives a second run of the tests, beside the first, servers of its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Django's own database is for the tests alone; no .env of the developer's may lead them elsewhere
os.environ["PALATE_VAR"] = os.environ.get("PALATE_TEST_VAR", str(ROOT / "var" / "test"))
os.environ["EMBEDDED_DURABLE"] = "0"
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_configure() -> None:
    if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
        from config.embedded import Embedded

        Embedded(Path(os.environ["PALATE_VAR"]).resolve(), durable=False).start()


def pytest_unconfigure() -> None:
    if os.environ.get("CI"):  # leave nothing running behind; elsewhere the next run starts faster
        from config.embedded import Embedded

        Embedded(Path(os.environ["PALATE_VAR"]).resolve(), durable=False).stop()
