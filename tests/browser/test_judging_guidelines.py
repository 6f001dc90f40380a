"""The guidelines in the annotator's browser: read and confirmed before the work, and pinned beside it on wide screens."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from annotation.actions.projects import write_guideline
from annotation.models import Judgment, Member
from tests.browser.judging import Cast, NewPage, SignIn, cast, press, url, wait_for_next_item
from tests.processes import until

__all__ = ["cast"]


class TestConfirm:
    def test_they_are_read_first_and_after_a_change(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        project = cast.project(items=4)
        Member.objects.filter(user=cast.bob).update(confirmed_guideline=None)
        sign_in(page, cast.bob)
        page.goto(url(project))
        expect(page.locator("h1")).to_have_text("Read the guidelines first")
        expect(page.locator("#confirm")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#work")).to_have_attribute("data-kind", "rank")
        wait_for_next_item(page)

        write_guideline(project=project, text="Prefer the **honest** answer.", author=cast.alice)
        press(page, "1 2 3 4 Enter")  # the item on the screen, and the one that is held already
        expect(page.locator("#work")).to_have_attribute("data-kind", "rank")
        until(lambda: Judgment.objects.count() == 1, "the first judgment")
        press(page, "1 2 3 4 Enter")
        expect(page.locator("h1")).to_have_text("The guidelines have changed")
        expect(page.locator(".line-diff ins")).to_have_text("honest")
        expect(page.locator("#confirm")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#work")).to_have_attribute("data-kind", "rank")
        wait_for_next_item(page)
        press(page, "1 2 3 4 Enter")
        until(lambda: Judgment.objects.count() == 3, "the third judgment")
        versions = Judgment.objects.order_by("pk").values_list("guideline__number", flat=True)
        assert list(versions) == [1, 1, 2]


class TestPinned:
    def test_they_are_beside_the_work_where_there_is_room(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn
    ) -> None:
        page = new_page(viewport={"width": 1720, "height": 900})
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=3)))
        pinned = page.locator("#pinned-guidelines")
        expect(pinned).to_contain_text("Prefer the better answer.")
        press(page, "1 2 3 4 Enter")
        expect(pinned).to_contain_text("Prefer the better answer.")  # with the next item, too
        page.get_by_role("button", name="Unpin the guidelines").click()
        expect(pinned).to_be_hidden()
        page.reload()
        expect(pinned).to_be_hidden()
        page.locator("#open-guidelines").click()
        page.get_by_role("button", name="Pin beside the work").click()
        expect(pinned).to_be_visible()

    def test_they_are_a_drawer_elsewhere(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1)))
        expect(page.locator(".answer").first).to_be_visible()
        expect(page.locator("#pinned-guidelines")).to_be_hidden()
        page.locator("#open-guidelines").click()
        expect(page.get_by_role("button", name="Pin beside the work")).to_be_hidden()
