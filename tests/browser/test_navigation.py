"""The command palette by keys alone and by touch, and the menu of pages on a phone, also without scripts."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, Route, expect

from annotation.models import Member, Project, User
from tests import builders

SignIn = Callable[[Page, User], None]
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def alice(transactional_db: None) -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    project = builders.project(alice)
    builders.join(project, builders.user("bob"), Member.Role.ANNOTATOR)
    builders.items(project, 3)
    return project


def at(project: Project, name: str) -> str:
    return reverse(name, args=[project.slug])


def test_the_palette_is_used_by_keys_alone(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(at(project, "rules"))
    help_link = page.get_by_role("link", name="Help on this page")
    help_link.focus()
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Name or number")
    expect(field).to_be_focused()
    options = page.locator("#palette").get_by_role("option")
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    last = options.last.get_attribute("id")
    assert last
    expect(field).to_have_attribute("aria-activedescendant", last)
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    expect(help_link).to_be_focused()

    page.keyboard.press("Control+k")
    page.keyboard.type("bo")
    expect(page.locator("#palette").get_by_role("option", name="bob")).to_be_visible()
    expect(page.locator("#palette [role=status]")).to_have_text(re.compile(r"\d+ results?"))
    while page.locator("#palette [aria-selected=true]").inner_text().splitlines()[0] != "bob":
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/people/bob/")


def test_enter_opens_what_was_typed_and_not_what_was_shown_before(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(at(project, "rules"))
    page.keyboard.press("Control+k")
    expect(page.locator("#palette").get_by_role("option").first).to_be_visible()
    page.keyboard.type("webhooks")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{at(project, 'webhooks')}")


def test_a_part_of_the_page_that_is_open_is_shown(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(at(project, "members"))
    page.keyboard.press("Control+k")
    page.keyboard.type("invite")
    expect(page.locator("#palette").get_by_role("option", name="Invite somebody")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#palette")).to_be_hidden()
    expect(page).to_have_url(re.compile("#invite$"))


def test_on_a_judging_screen_letters_go_into_the_palette_and_k_alone_opens_nothing(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(at(project, "work"))
    expect(page.locator("h1")).to_contain_text("Rank")
    page.keyboard.press("k")
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Name or number")).to_be_focused()
    page.keyboard.type("1s")
    expect(page.get_by_role("combobox", name="Name or number")).to_have_value("1s")
    assert page.locator("dialog[open]").count() == 1
    assert page.locator("#judge input:checked").count() == 0
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.press("1")
    expect(page.locator("#judge input:checked")).to_have_count(1)
    # where another dialog is open, it stays the only one
    page.keyboard.press("s")
    page.locator("dialog[open]").wait_for()
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_hidden()


def test_what_is_typed_before_the_palette_is_loaded_goes_into_its_field(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(at(project, "work"))
    expect(page.locator("h1")).to_contain_text("Rank")
    held: list[Route] = []
    page.route("**/js/palette*.js", lambda route: held.append(route))
    page.keyboard.press("Control+k")
    page.keyboard.type("1st")
    page.wait_for_timeout(100)
    assert page.locator("dialog[open]").count() == 0
    for route in held:
        route.continue_()
    expect(page.get_by_role("combobox", name="Name or number")).to_have_value("1st")
    assert page.locator("dialog[open]").count() == 1
    assert page.locator("#judge input:checked").count() == 0


@pytest.mark.parametrize("part", ["**/js/palette*.js", "**/css/palette*.css"])
def test_escape_gives_up_a_palette_that_does_not_come(
    page: Page, sign_in: SignIn, alice: User, project: Project, part: str
) -> None:
    sign_in(page, alice)
    page.goto(at(project, "items"))
    held: list[Route] = []
    page.route(part, lambda route: held.append(route))
    page.keyboard.press("Control+k")
    page.wait_for_timeout(100)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Escape")
    search = page.get_by_label("Search prompts")
    search.press_sequentially("question")
    expect(search).to_have_value("question")
    for route in held:
        route.continue_()
    page.wait_for_timeout(300)
    assert page.locator("dialog[open]").count() == 0
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Name or number")).to_have_value("")


def test_a_palette_that_cannot_be_loaded_is_a_page(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(at(project, "rules"))
    page.route("**/js/palette*.js", lambda route: route.abort())
    page.get_by_role("button", name="Go to").click()
    page.wait_for_url("**/go/?project=helpfulness")


def test_a_server_that_is_away_is_said_in_the_palette(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(at(project, "rules"))
    page.route("**/go/**", lambda route: route.abort())
    page.keyboard.press("Control+k")
    expect(page.locator("#palette [role=status]")).to_have_text(
        "The server did not answer. Type on to try again."
    )
    assert page.locator(".toast").count() == 0
    page.unroute("**/go/**")
    page.keyboard.type("rules")
    expect(page.locator("#palette").get_by_role("option", name="Rules Quality")).to_be_visible()


def test_whoever_was_signed_out_meanwhile_gets_the_sign_in_page(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(at(project, "rules"))
    page.context.clear_cookies()
    page.keyboard.press("Control+k")
    page.wait_for_url("**/sign-in/**")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_on_a_phone_all_pages_are_in_one_menu(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project, scripts: bool
) -> None:
    page = new_page(viewport=PHONE, java_script_enabled=scripts, has_touch=True)
    sign_in(page, alice)
    page.goto(at(project, "quality"))
    menu = page.get_by_role("navigation", name="Pages of this project")
    expect(menu.get_by_role("button", name="Quality / Agreement")).to_be_visible()
    expect(menu.get_by_role("link")).to_have_count(0)
    menu.get_by_role("button").tap()
    for name in ("Overview", "Progress", "Snapshots", "Runs", "Webhooks"):
        expect(menu.get_by_role("link", name=name, exact=True)).to_be_in_viewport()
    menu.get_by_role("link", name="Rules", exact=True).tap()
    page.wait_for_url(f"**{at(project, 'rules')}")
    expect(menu.get_by_role("link")).to_have_count(0)


def test_on_a_phone_the_palette_opens_by_touch(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    page = new_page(viewport=PHONE, has_touch=True)
    sign_in(page, alice)
    page.goto(at(project, "quality"))
    page.get_by_role("button", name="Go to").tap()
    page.get_by_role("combobox", name="Name or number").fill("item")
    page.locator("#palette").get_by_role("option", name=re.compile("^Items")).tap()
    page.wait_for_url(f"**{at(project, 'items')}")


def test_without_scripts_the_palette_is_a_page(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    page = new_page(viewport={"width": 1280, "height": 800}, java_script_enabled=False)
    sign_in(page, alice)
    page.goto(at(project, "quality"))
    page.get_by_role("link", name="Go to").click()
    page.get_by_role("searchbox", name="Name or number").fill("rul")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("main").get_by_role("link", name="Rules", exact=True).click()
    page.wait_for_url(f"**{at(project, 'rules')}")


def test_wide_screens_show_the_groups_and_the_pages_of_one(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(at(project, "quality"))
    menu = page.get_by_role("navigation", name="Pages of this project")
    expect(menu.get_by_role("button")).to_have_count(0)
    names = ["Overview", "Annotate", "Quality", "Agreement", "Review", "Rules", "AI feedback", "Audit trail"]
    names += ["Data", "Train", "Settings"]
    expect(menu.get_by_role("link")).to_have_text(names)
    menu.get_by_role("link", name="Train").click()
    page.wait_for_url(f"**{at(project, 'rounds')}")
