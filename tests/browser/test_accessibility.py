"""WCAG 2.2 AA, as far as a machine can tell: axe-core finds nothing on any page, wide and narrow, light and dark. And what
the Rank screen weighs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import Page

from annotation.models import User
from tests import builders, screens
from tests.world import make_world

pytestmark = pytest.mark.slow(80)

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES_ON_COLOURS = ["color-contrast", "link-in-text-block"]
WIDTHS = {"desktop": (1280, 800), "phone": (390, 844), "desktop at 200%": (640, 400)}
SignIn = Callable[[Page, User], None]


@pytest.fixture
def alice(transactional_db: None) -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def bob(transactional_db: None) -> User:
    return builders.user("bob")


@pytest.fixture
def world(alice: User, bob: User) -> screens.World:
    return make_world(alice, bob)


def test_every_url_is_a_page_that_is_looked_at_or_said_to_be_none() -> None:
    pages = [*screens.SIGNED_OUT, *screens.ANNOTATOR, *screens.LEAD]
    assert len(pages) == len(set(pages))
    assert screens.names() == {*pages, *screens.NO_PAGES}


def problems(page: Page, only: list[str] = RULES) -> list[str]:
    """What axe finds, each with the rule and the elements. It would describe all the elements that pass, too, which takes as
    long again."""
    found = page.evaluate(
        """async (rules) => (await axe.run(document, {runOnly: rules, resultTypes: ["violations"]})).violations.map((one) =>
            `${one.id}: ${one.help}: ` + one.nodes.slice(0, 4).map((node) => node.target.join(" ")).join(" | "))""",
        only,
    )
    return list(found)


@pytest.mark.parametrize("device", WIDTHS)
def test_axe_finds_nothing_on_any_page(
    new_page: Callable[..., Page],
    sign_in: SignIn,
    world: screens.World,
    alice: User,
    bob: User,
    device: str,
) -> None:
    width, height = WIDTHS[device]
    wrong: list[str] = []
    for who, table in ((None, screens.SIGNED_OUT), (bob, screens.ANNOTATOR), (alice, screens.LEAD)):
        page = new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
        page.add_init_script(path=AXE)
        if who is not None:
            sign_in(page, who)
        pages = screens.paths(table, world)
        if who == bob:
            for slug in (world.pairs.slug, world.letters.slug, "changed"):
                pages[f"work-{slug}"] = reverse("work", args=[slug])
        if who == alice:
            curves = reverse("run-curves", args=[world.project.slug])
            pages["run-curves-drawn"] = f"{curves}?run={world.run}"
        for name, path in pages.items():
            page.emulate_media(color_scheme="light")
            answer = page.goto(path)
            assert answer
            assert answer.status == 200, (name, path, answer.status)
            page.evaluate(
                "document.querySelectorAll('details.all-reports, .plot-data > details').forEach((one) => (one.open = true))"
            )
            wrong += [f"{name}: {problem}" for problem in problems(page)]
            page.emulate_media(color_scheme="dark")
            wrong += [f"{name}, dark: {problem}" for problem in problems(page, RULES_ON_COLOURS)]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                wrong.append(f"{name}: it scrolls sideways")
    assert not wrong, "\n".join(wrong)


def test_axe_finds_nothing_in_what_opens_on_the_annotators_screens(
    new_page: Callable[..., Page], sign_in: SignIn, world: screens.World, bob: User
) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    page.add_init_script(path=AXE)
    sign_in(page, bob)
    wrong: list[str] = []
    page.goto(reverse("work", args=[world.pairs.slug]))
    page.evaluate("document.querySelectorAll('details.flags').forEach((one) => (one.open = true))")
    wrong += problems(page)
    for key in ("s", "?", "m", "w", "q"):
        page.keyboard.press(key)
        page.locator("dialog[open]").wait_for()
        page.wait_for_load_state("networkidle")
        wrong += [f"{key}: {problem}" for problem in problems(page)]
        page.keyboard.press("Escape")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_in_the_palette_and_the_menu_of_pages(
    new_page: Callable[..., Page], sign_in: SignIn, world: screens.World, alice: User, width: int
) -> None:
    page = new_page(viewport={"width": width, "height": 844}, reduced_motion="reduce")
    page.add_init_script(path=AXE)
    sign_in(page, alice)
    wrong: list[str] = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(reverse("rules", args=[world.project.slug]))
        if width < 640:
            page.locator(".project-nav-open").click()
            page.get_by_role("link", name="Webhooks").wait_for()
            wrong += [f"menu, {scheme}: {problem}" for problem in problems(page)]
            page.keyboard.press("Escape")
        page.locator("[data-palette]").click()
        page.locator("#palette [role=option]").first.wait_for()
        wrong += [f"palette, {scheme}: {problem}" for problem in problems(page)]
        page.goto(f"{reverse('search', args=[world.project.slug])}?q=answer+question")
        wrong += [f"search, {scheme}: {problem}" for problem in problems(page)]
    assert not wrong, "\n".join(wrong)


def test_the_rank_screen_weighs_less_than_150_kilobytes(
    page: Page, sign_in: SignIn, world: screens.World, bob: User
) -> None:
    sign_in(page, bob)
    sizes: dict[str, int] = {}
    kept: dict[str, str | None] = {}

    def note(response: object) -> None:
        sizes[response.url] = response.request.sizes()["responseBodySize"]  # type: ignore[attr-defined]
        if "/static/" in response.url:  # type: ignore[attr-defined]
            kept[response.url] = response.header_value("cache-control")  # type: ignore[attr-defined]

    page.on("response", note)
    page.goto(reverse("work", args=[world.project.slug]), wait_until="networkidle")
    answers = page.evaluate(
        "[...document.querySelectorAll('.prose')].map((one) => one.innerHTML.length).reduce((a, b) => a + b, 0)"
    )
    weight = sum(sizes.values()) - answers
    print(f"the Rank screen: {weight} bytes without the answers")
    assert weight < 150_000, sizes
    assert len(kept) > 8
    assert all("immutable" in (value or "") for value in kept.values()), kept
