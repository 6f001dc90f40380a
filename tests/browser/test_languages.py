"""Every page in other languages, on a phone: longer words and the other direction leave no page wider than the screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Error, Page

from annotation.models import ApiToken, User
from tests import builders, screens
from tests.world import make_world

SignIn = Callable[[Page, User], None]


def script_errors(page: Page) -> list[str]:
    """What scripts of the page fail with from now on."""
    errors: list[str] = []

    def note(error: Error) -> None:
        errors.append(str(error))

    page.on("pageerror", note)
    return errors


@pytest.mark.parametrize(("language", "direction"), [("de", "ltr"), ("ar", "rtl")])
def test_no_page_scrolls_sideways_or_fails_in_a_script(
    new_page: Callable[..., Page], sign_in: SignIn, transactional_db: None, language: str, direction: str
) -> None:
    alice, bob = builders.user("alice", is_staff=True), builders.user("bob")
    world = make_world(alice, bob)
    ApiToken.issue(user=bob, name="for a script", scope="lead")
    User.objects.update(language=language)
    wrong: list[str] = []
    for who, table in ((bob, screens.ANNOTATOR), (alice, screens.LEAD)):
        page = new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
        errors = script_errors(page)
        sign_in(page, who)
        for name, path in screens.paths(table, world).items():
            page.goto(path)
            if page.evaluate("getComputedStyle(document.documentElement).direction") != direction:
                wrong.append(f"{name}: not from the side where its language begins")
            if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
                wrong.append(f"{name}: {width} pixels wide")
            wrong += [f"{name}: {error}" for error in errors]
            errors.clear()
    assert not wrong, "\n".join(wrong)
