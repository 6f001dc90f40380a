"""A real browser before the real site, which runs beside the tests on the test database.

`site` is its address, `page` a fresh window, `sign_in(page, user)` saves a test the form. A script error on any page,
and whatever its Content-Security-Policy refuses, fails the test that saw it.
"""

from __future__ import annotations

import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from annotation.models import User
from config.processes import STATIC_ENVIRONMENT, collect_static
from tests.processes import free_port, process, until

FLAGS = (
    "--no-sandbox --disable-gpu --in-process-gpu --disable-software-rasterizer --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage"
).split()
# the first is the same engine without the windows that nobody sees, which take as long as the pages in them
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser")
PATIENCE_MS = 60_000
CSP = "Content Security Policy"
"""In what the browser says when it refuses something."""
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def site(django_db_setup: None) -> Iterator[str]:
    """The address of the web process."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return urllib.request.urlopen(f"{address}/sign-in/", timeout=5).status == 200
        except OSError:
            return False

    collect_static()
    with process("web", port=port, **STATIC_ENVIRONMENT):
        until(answers, "the site answers")
        yield address


# Playwright keeps an event loop running in this thread, in which Django would refuse to be used: the window of this
# permission is that of the browser, so that it does not reach the tests of other folders.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not path:
        pytest.skip("no Chromium here: install the package of that name, or set CHROMIUM to its path")
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser, site: str, transactional_db: None) -> Iterator[Callable[..., Page]]:
    """Makes windows: `new_page(viewport=…, java_script_enabled=False, …)`, each with cookies of its own."""
    cache.clear()
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def make(**options: object) -> Page:
        context = browser.new_context(base_url=site, **options)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: CSP in message.text and errors.append(message.text))
        return page

    yield make
    for context in contexts:
        context.close()
    assert not errors, errors


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    return new_page(viewport={"width": 1280, "height": 800})


@pytest.fixture
def sign_in(site: str) -> Callable[[Page, User], None]:
    """Signs a user in without the form."""

    def sign_in(page: Page, user: User) -> None:
        client = Client()
        client.force_login(user, backend="annotation.backends.AccountBackend")
        name = settings.SESSION_COOKIE_NAME
        page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": site}])

    return sign_in
