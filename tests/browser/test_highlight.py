"""Code is coloured in the browser, and no code freezes the page."""

from __future__ import annotations

from collections.abc import Callable

from django.urls import reverse
from playwright.sync_api import Page, expect

from annotation.models import Project, User
from tests import builders
from tests.browser.judging import SignIn

PYTHON = "```python\ndef answer() -> int:\n    return 42  # <b>\n```"
UNKNOWN = "```klingon\na < b\n```"


def code_project(lead: User) -> Project:
    project = builders.project(lead, "Code", k=3)
    builders.imported(project, {"prompt": "How?", "responses": [PYTHON, UNKNOWN, "No idea."]})
    return project


def test_code_is_coloured(new_page: Callable[..., Page], sign_in: SignIn) -> None:
    page, alice = new_page(), builders.user("alice")
    sign_in(page, alice)
    page.goto(reverse("work", args=[code_project(alice).slug]))
    code = page.locator("code.language-python")
    expect(code.locator(".hljs-keyword").first).to_have_text("def")
    expect(code.locator(".hljs-comment")).to_have_text("# <b>")
    expect(page.locator("code.language-klingon")).to_have_attribute("data-highlight", "plain")


def test_code_that_takes_too_long_stays_plain(new_page: Callable[..., Page], sign_in: SignIn) -> None:
    page, alice = new_page(), builders.user("alice")
    page.route(
        "**/highlight-worker*.js",
        lambda route: route.fulfill(
            content_type="text/javascript", body="onmessage = () => { while (true); };"
        ),
    )
    sign_in(page, alice)
    page.goto(reverse("work", args=[code_project(alice).slug]))
    page.keyboard.press("1")  # the page does what it is asked meanwhile
    expect(page.locator(".chip")).to_have_count(3)
    for language in ("python", "klingon"):
        expect(page.locator(f"code.language-{language}")).to_have_attribute("data-highlight", "plain")
    expect(page.locator("code.language-python")).to_contain_text("return 42  # <b>")
