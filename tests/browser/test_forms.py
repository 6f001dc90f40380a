"""What base.js does for every form and every part of a page that htmx loads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, Route, expect

from annotation.models import Project, User
from tests import builders

SignIn = Callable[[Page, User], None]
SIGNED_OUT = "You are signed out. Sign in in another tab, then go on here."


@pytest.fixture
def alice(transactional_db: None) -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    project = builders.project(alice, k=3, overlap=2)
    builders.items(project, 3, k=3)
    return project


def test_a_second_press_while_the_first_is_on_its_way_does_nothing(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(f"{reverse('items', args=[project.slug])}?state=open")
    sent: list[str] = []

    def keep(route: Route) -> None:
        sent.append(route.request.method)
        route.fulfill(status=204)  # the page stays, as while it waits

    page.route("**/views/items/", keep)
    page.locator("details.views > summary").click()
    page.get_by_label("Save this view as").fill("Open ones")
    save = page.get_by_role("button", name="Save view")
    save.click()
    expect(save).to_have_attribute("aria-busy", "true")
    save.click()
    page.wait_for_timeout(300)
    assert sent == ["POST"]
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    assert save.get_attribute("aria-busy") is None
    save.click()
    page.wait_for_timeout(300)
    assert sent == ["POST", "POST"], "who comes back to the page may send it again"


def test_what_one_filters_and_types_stays_when_one_was_signed_out(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(reverse("items", args=[project.slug]))
    address = page.url
    cookies = page.context.cookies()
    page.context.clear_cookies()
    search = page.get_by_label("Search prompts")
    search.press_sequentially("question 1")
    expect(page.locator(".toast")).to_contain_text(SIGNED_OUT)
    expect(page.locator("#list tbody tr")).to_have_count(3)
    expect(page).to_have_url(address)
    search.press_sequentially("2")
    page.wait_for_timeout(600)
    expect(page.locator(".toast")).to_have_count(1)
    page.context.add_cookies(cookies)  # signed in again
    search.press("Backspace")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    page.locator(".toast [data-dismiss]").click()
    expect(page.locator(".toast")).to_have_count(0)
    page.context.clear_cookies()
    search.press("End")
    search.press("Backspace")
    expect(page.locator(".toast")).to_contain_text(SIGNED_OUT)


def test_a_page_that_loads_parts_of_itself_stays_when_one_was_signed_out(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(reverse("progress", args=[project.slug]))
    page.context.clear_cookies()
    page.evaluate("htmx.trigger(document.body, 'projectchanged')")
    expect(page.locator(".toast")).to_contain_text(SIGNED_OUT)
    assert page.locator("input[type=password]").count() == 0
