"""The next item is there before the submit is answered, and nothing of it is ever lost or said twice."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from annotation.models import Draft, Judgment, Slot
from tests.browser.judging import (
    Cast,
    SignIn,
    cast,
    expect_left,
    expect_saved,
    lose_response,
    order,
    press,
    url,
    wait_for_next_item,
    wait_for_submit,
)

__all__ = ["cast"]


def open_with_next(page: Page, address: str) -> None:
    """The screen, once it holds the next item."""
    with page.expect_response(lambda r: r.url.endswith("/ahead/") and r.status == 200):
        page.goto(address)
    wait_for_next_item(page)


def item(page: Page) -> str:
    return page.locator("#work").get_attribute("data-item") or ""


def text_of_a(page: Page) -> str:
    return page.locator(".answer-body").first.inner_text()


class TestAhead:
    def test_the_next_item_is_shown_before_the_server_has_answered(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=3)))
        first = item(page)
        held: list[Route] = []
        page.route("**/work/", lambda route: held.append(route))
        press(page, "1 2 3 4 Enter")
        expect(page.locator(f'#work:not([data-item="{first}"])')).to_be_visible()
        expect(page.locator("h1")).to_be_focused()
        expect_left(page, 2)
        expect(page.locator(".work-counts")).to_contain_text("1 today")
        assert not Judgment.objects.exists()
        held[0].continue_()
        page.unroute("**/work/")
        wait_for_next_item(page)
        press(page, "4 3 2 1 Enter 1 1 1 1")
        expect_left(page, 1)
        wait_for_submit(page)
        press(page, "Enter")
        expect(page.locator(".finished")).to_be_visible()
        expect_saved([1, 2, 3, 4], [4, 3, 2, 1], [1, 1, 1, 1])
        assert not Slot.objects.exclude(state="done").exists()

    def test_a_failed_submit_comes_back_with_its_input_and_keeps_what_was_begun(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=2)))
        first = item(page)
        held: list[Route] = []
        page.route("**/work/", lambda route: held.append(route))
        press(page, "2 1 4 3 Enter")
        expect(page.locator(f'#work:not([data-item="{first}"])')).to_be_visible()
        press(page, "3 1")  # begun on the second one
        page.route("**/work/", lambda route: route.abort())
        held[0].abort()
        expect(page.locator("#not-saved")).to_contain_text("kept on this device")
        assert item(page) == first
        assert order(page) == "B>A>D>C"
        page.unroute("**/work/")  # it is sent again by itself
        expect(page.locator(f'#work:not([data-item="{first}"])')).to_be_visible()
        assert order(page) == "B>A"
        press(page, "c 2 4 Enter")
        expect(page.locator(".finished")).to_be_visible()
        expect_saved([2, 1, 4, 3], [3, 1, 2, 4])

    def test_a_submit_whose_response_was_lost_is_not_doubled(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=2)))
        page.route("**/work/", lose_response)
        press(page, "1 2 3 4 Enter")
        expect(page.locator("#not-saved")).to_be_visible()
        page.unroute("**/work/")
        press(page, "Enter")
        expect_left(page, 1)
        wait_for_submit(page)
        expect_saved([1, 2, 3, 4])

    def test_a_second_submit_waits_for_the_first(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=3)))
        held: list[Route] = []
        page.route("**/work/", lambda route: held.append(route))
        press(page, "1 2 3 4 Enter 2 2 2 2 Enter")
        expect(page.locator('#work[aria-busy="true"]')).to_be_visible()
        page.wait_for_timeout(200)
        assert len(held) == 1
        held[0].continue_()
        page.unroute("**/work/")
        expect_left(page, 1)
        wait_for_submit(page)
        expect_saved([1, 2, 3, 4], [1, 1, 1, 1])

    def test_a_failed_submit_is_repeated_and_not_the_one_that_waited_for_it(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=2)))
        first = item(page)
        held: list[Route] = []
        page.route("**/work/", lambda route: held.append(route))
        press(page, "1 2 3 4 Enter 4 3 2 1 Enter")
        expect(page.locator('#work[aria-busy="true"]')).to_be_visible()
        page.route("**/work/", lambda route: route.abort())
        held[0].abort()
        expect(page.locator("#not-saved")).to_be_visible()
        assert item(page) == first
        page.unroute("**/work/")  # it is sent again by itself
        expect(page.locator(f'#work:not([data-item="{first}"])')).to_be_visible()
        wait_for_submit(page)
        expect_saved([1, 2, 3, 4])
        assert order(page) == "D>C>B>A"
        press(page, "Enter")
        expect(page.locator(".finished")).to_be_visible()
        expect_saved([1, 2, 3, 4], [4, 3, 2, 1])

    def test_a_refused_submit_comes_back_with_the_reason(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        project = cast.project(items=2, rationale="required")
        open_with_next(page, url(project))
        first = item(page)
        press(page, "1 2 3 4")
        page.evaluate("document.getElementById('rationale').required = false")  # a page that knows no better
        press(page, "Enter")
        expect(page.locator("#errors")).to_contain_text("Say in a few words why.")
        assert item(page) == first
        assert order(page) == "A>B>C>D"
        page.get_by_label("Why?").fill("A is right.")
        press(page, "Control+Enter")
        expect_left(page, 1)
        wait_for_submit(page)
        assert Judgment.objects.get().rationale == "A is right."

    def test_skipping_is_as_quick(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=3)))
        first = item(page)
        press(page, "s 1")
        expect(page.locator(f'#work:not([data-item="{first}"])')).to_be_visible()
        expect(page.locator(".toast")).to_contain_text("Skipped.")
        expect(page.locator(".work-counts")).to_contain_text("0 today")

    def test_a_lease_is_renewed_while_somebody_reads(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.clock.install()
        open_with_next(page, url(cast.project(items=2)))
        before = list(Slot.objects.filter(state="leased").values_list("leased_until", flat=True))
        page.clock.fast_forward("01:01")
        with page.expect_response(lambda r: r.url.endswith("/renew/") and r.status == 204):
            page.mouse.move(300, 300)
        after = list(Slot.objects.filter(state="leased").values_list("leased_until", flat=True))
        assert len(after) == 2
        assert min(after) > max(before)

    def test_an_item_held_too_long_is_asked_for_anew(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.clock.install()
        project = cast.project(items=2)
        open_with_next(page, url(project))
        page.clock.fast_forward(60_000 * project.lease_minutes)
        with page.expect_request(lambda r: r.url.endswith("/work/") and r.method == "POST") as submit:
            press(page, "1 2 3 4 Enter")
        expect_left(page, 1)
        wait_for_submit(page)
        assert "showing=" not in (submit.value.post_data or "")
        expect_saved([1, 2, 3, 4])

    def test_the_next_item_is_visible_within_a_tenth_of_a_second(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=12)))
        page.evaluate(
            """() => {
                window.waits = [];
                document.addEventListener("keydown", (event) => {
                    if (event.key !== "Enter") return;
                    const item = () => document.getElementById("work").dataset.item;
                    const [start, before] = [performance.now(), item()];
                    const look = () => {
                        if (item() === before) return requestAnimationFrame(look);
                        // painted: the frame after the one in which it was put on the page
                        requestAnimationFrame(() => requestAnimationFrame(() => waits.push(performance.now() - start)));
                    };
                    requestAnimationFrame(look);
                }, true);
            }"""
        )
        for count in range(1, 10):
            press(page, "1 2 3 4 Enter")
            page.wait_for_function("(n) => waits.length === n", arg=count)
            wait_for_next_item(page)
        waits = sorted(page.evaluate("waits"))
        print(f"next item visible after {[round(wait) for wait in waits]} ms")
        assert waits[len(waits) // 2] < 100, waits
        assert Judgment.objects.count() == 9
        assert not Draft.objects.exists()
