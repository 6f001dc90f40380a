"""The editor of a constitution as a lead uses it, with scripts and without."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotation.models import Constitution, Project, User
from tests import builders
from tests.browser.test_accessibility import AXE, problems

SignIn = Callable[[Page, User], None]


@pytest.fixture
def alice(transactional_db: None) -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    return builders.project(alice)


def keys() -> list[str]:
    return [principle["key"] for principle in Constitution.objects.latest("number").principles]


def test_principles_are_added_moved_removed_and_saved(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    page.add_init_script(path=AXE)
    sign_in(page, alice)
    page.goto(reverse("guidelines", args=[project.slug]))
    page.get_by_role("button", name="Settings / Guidelines").click()
    page.get_by_role("link", name="Constitution", exact=True).click()
    cards = page.locator("form [data-row]")
    expect(cards).to_have_count(3)

    page.get_by_role("button", name="Add a principle").click()
    added = cards.nth(3)
    expect(added.get_by_label("Key")).to_be_focused()
    added.get_by_label("Key").fill("kind")
    added.get_by_label("Compare").fill("Which answer is kinder?")
    added.get_by_text("Words for tiny models").click()
    for label, words in (("Begins with", "That was"), ("Good word", "warm"), ("Bad word", "rude")):
        added.get_by_label(label, exact=True).fill(words)
    expect(added.get_by_role("button", name="Move down")).to_be_disabled()
    added.get_by_role("button", name="Move up").focus()
    for _ in range(3):  # the focus stays on the button
        page.keyboard.press("Enter")
    expect(cards.nth(0).get_by_label("Key")).to_have_value("kind")
    expect(cards.nth(0).get_by_role("button", name="Move down")).to_be_focused()
    expect(page.locator("[data-moved]")).to_have_text("kind is now number 1.")
    cards.nth(2).get_by_label("Remove").check()
    expect(cards.nth(2).get_by_label("Compare")).to_be_hidden()
    assert problems(page) == []

    page.get_by_role("button", name="Save as version 1").click()
    expect(page.get_by_text("Saved as version 1.")).to_be_visible()
    assert keys() == ["kind", "helpful", "harmless"]

    cards.nth(1).get_by_label("Key").fill("Not a key")
    page.get_by_role("button", name="Save as version 2").click()
    expect(page.get_by_text("1 to 40 lower-case letters")).to_be_visible()
    expect(cards.nth(0).get_by_label("Bad word", exact=True)).to_be_visible()
    assert problems(page) == []


def test_without_scripts_they_are_ordered_by_number(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    page = new_page(java_script_enabled=False)
    sign_in(page, alice)
    page.goto(reverse("constitutions", args=[project.slug]))
    expect(page.get_by_role("button", name="Add a principle")).to_be_hidden()
    expect(page.locator("form [data-row]")).to_have_count(4)  # the last one is empty
    cards = page.locator("form [data-row]")
    cards.nth(0).get_by_label("Position").fill("9")
    cards.nth(3).get_by_label("Key").fill("kind")
    cards.nth(3).get_by_label("Compare").fill("Which answer is kinder?")
    cards.nth(3).get_by_label("Position").fill("1")
    page.get_by_role("button", name="Save as version 1").click()
    expect(page.get_by_text("Saved as version 1.")).to_be_visible()
    assert keys() == ["kind", "honest", "harmless", "helpful"]
