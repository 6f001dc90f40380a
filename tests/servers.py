"""A pytest plugin: real PostgreSQL and Valkey for the tests, and what each test needs, as its markers.

The servers are the embedded ones, with flushing to disk off, under var/test; each worker of pytest-xdist has its own, in
a folder of its own. They are started after collection, and only if a selected test needs them. DATABASE_URL and REDIS_URL
replace them. PALATE_TEST_VAR is another folder than var/test, for a second run of the tests beside the first. With
PALATE_TEST_SERVERS=system the servers are this machine's own programs, as Debian has them, and not those from wheels.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Django reads its settings after this. Its own database is for the tests alone; no .env of the developer's may lead them
# elsewhere.
SYSTEM = os.environ.get("PALATE_TEST_SERVERS") == "system"
SHARED = Path(
    os.environ.get("PALATE_TEST_VAR", ROOT / "var" / ("test-system" if SYSTEM else "test"))
).resolve()
VAR = SHARED / os.environ.get("PYTEST_XDIST_WORKER", "")
os.environ["PALATE_VAR"] = str(VAR)
os.environ["STATIC_ROOT"] = str(SHARED / "static")  # one worker collects for all
os.environ["EMBEDDED_DURABLE"] = "0"
os.environ["OMP_NUM_THREADS"] = "1"  # tests, and the programs that they start, run side by side
# what a site may turn on is on; the provider of single sign-on is started by the tests that need it
os.environ["MFA"], os.environ["EMAIL_URL"] = "optional", "memorymail://"
OIDC_PORT = 19400 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
os.environ["OIDC_URL"], os.environ["OIDC_CLIENT_ID"] = f"http://localhost:{OIDC_PORT}", "palate"
os.environ["OIDC_CLIENT_SECRET"], os.environ["OIDC_NAME"] = "secret", "Example SSO"
os.environ["OIDC_ROLES"] = "labelers=test:annotator,quality=test:reviewer,leads=test:lead,founders=staff"
os.environ["METRICS_TOKEN"] = "token of the tests"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

LIVE_FIXTURES = {"site", "warm_core"}
EXTERNAL = bool(os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"))


def pytest_configure(config: pytest.Config) -> None:
    if EXTERNAL and config.getoption("dist") != "no":
        raise pytest.UsageError("Workers would share the server of REDIS_URL: run in one process (-n 0).")
    if SYSTEM:
        from config.embedded import EmbeddedError

        try:
            embedded().check()
        except EmbeddedError as error:
            raise pytest.UsageError(str(error)) from None


def needs_database(item: pytest.Item) -> bool:
    """Whether pytest-django gives the test a database."""
    from django.test import TransactionTestCase

    case = getattr(item, "cls", None)
    return (
        item.get_closest_marker("django_db") is not None
        or bool({"db", "transactional_db"} & set(getattr(item, "fixturenames", ())))
        or (case is not None and issubclass(case, TransactionTestCase))
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> object:
    """What is imported and collected stays to the end: the garbage collector need not look through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> object:
    """Mark what needs the servers, before -m selects; then put what takes long first, for a short end."""
    for item in items:
        if "tests/browser/" in item.nodeid:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.django_db(transaction=True))
        if needs_database(item):
            item.add_marker(pytest.mark.database)
        if LIVE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.live)
    result = yield
    items.sort(key=seconds, reverse=True)
    return result


def seconds(item: pytest.Item) -> int:
    """What the slow mark says of the test."""
    mark = item.get_closest_marker("slow")
    return mark.args[0] if mark else 0


def embedded() -> Any:
    """The servers of this process."""
    from config.embedded import Embedded

    return Embedded(VAR, durable=False, system=SYSTEM)


def pytest_collection_finish(session: pytest.Session) -> None:
    needed = any(item.get_closest_marker("database") for item in session.items)
    if needed and not EXTERNAL and not session.config.option.collectonly:
        embedded().start()


@pytest.hookimpl(trylast=True)  # the last fixtures are gone by then
def pytest_sessionfinish() -> None:
    if os.environ.get("CI") and VAR.exists():  # elsewhere the next run starts faster
        embedded().stop()
