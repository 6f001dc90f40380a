"""Signing in as people do it: with a second factor, and by single sign-on, from the first page to the last."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import requests
from oidc_provider_mock import run_server_in_thread
from playwright.sync_api import Page, expect

from annotation.models import Member, User
from tests import builders
from tests.annotation.test_second_factor import code
from tests.browser.test_accessibility import AXE, problems
from tests.servers import OIDC_PORT

PASSWORD = "correct horse"


@pytest.fixture
def looked_at(new_page: Callable[..., Page]) -> Iterator[tuple[Page, Callable[[], None]]]:
    """A window at the width of a phone, and what looks for faults in the page that it shows."""
    page = new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    page.add_init_script(path=AXE)
    wrong: list[str] = []

    def look() -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            wrong.extend(f"{page.url}, {scheme}: {problem}" for problem in problems(page))
        if page.evaluate("document.documentElement.scrollWidth") > 390:
            wrong.append(f"{page.url} scrolls sideways")

    yield page, look
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def provider() -> Iterator[str]:
    with run_server_in_thread(OIDC_PORT):
        yield f"http://localhost:{OIDC_PORT}"


def enter_password(page: Page, name: str = "bob") -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_second_factor_from_its_set_up_to_a_lost_phone(
    looked_at: tuple[Page, Callable[[], None]],
) -> None:
    page, look = looked_at
    builders.user("bob")
    page.goto("/account/")
    look()
    enter_password(page)
    page.get_by_role("link", name="Turn on").click()
    look()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    secret = page.locator(".key").inner_text()
    assert page.locator(".qr-code").evaluate("image => image.naturalWidth") > 0
    page.get_by_label("Authenticator code").fill(code(secret))
    look()
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator(".recovery-codes li")).to_have_count(10)
    look()
    recovery = page.locator(".recovery-codes li").first.inner_text()
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_text("this one")).to_be_visible()
    look()

    page.context.clear_cookies()
    page.goto("/account/")
    enter_password(page)
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()
    look()
    page.get_by_label("Code").fill(recovery)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/account/")
    page.get_by_role("link", name="Turn off").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    look()
    page.get_by_role("button", name="Turn off").click()
    expect(page.get_by_text("Two-factor authentication is off")).to_be_visible()


def test_single_sign_on_leads_out_and_back(looked_at: tuple[Page, Callable[[], None]], provider: str) -> None:
    page, look = looked_at
    project = builders.project(builders.user("alice"), "Test")
    assert project.slug == "test"
    builders.items(project, 2)
    claims = {"preferred_username": "frank", "email": "frank@example.org", "groups": ["labelers"]}
    requests.put(f"{provider}/users/frank", json=claims, timeout=10)
    page.goto("/p/test/work/")
    page.get_by_role("button", name="Continue with Example SSO").click()
    page.wait_for_url(f"{provider}/**")
    page.locator("input[name=sub]").first.fill("frank")
    page.get_by_role("button", name=re.compile("Authorize")).first.click()
    page.wait_for_url("**/p/test/work/")
    member = Member.objects.get(project=project, user=User.objects.get(username="frank"))
    assert member.role == "annotator"
    page.goto("/account/")
    expect(page.get_by_text("Connected")).to_be_visible()
    look()
