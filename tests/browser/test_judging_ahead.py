"""The next item is there before the submit is answered, and nothing of it is ever lost or said twice."""

from __future__ import annotations

import time
from datetime import timedelta

from playwright.sync_api import Page, Route, expect

from annotation.models import Draft, Judgment, Slot
from annotation.opaque import opaque_id
from tests.browser.judging import (
    Cast,
    SignIn,
    cast,
    expect_left,
    expect_saved,
    lose_response,
    module,
    order,
    press,
    saved_ranks,
    url,
    wait_for_next_item,
    wait_for_submit,
)
from tests.processes import until

__all__ = ["cast"]


def open_with_next(page: Page, address: str) -> None:
    """The screen, once it holds the next item."""
    with page.expect_response(lambda r: r.url.endswith("/ahead/") and r.status == 200):
        page.goto(address)
    wait_for_next_item(page)


def item(page: Page) -> str:
    return page.locator("#work").get_attribute("data-item") or ""


def shown_id(judgment: Judgment, cast: Cast) -> str:
    """As Bob's pages name its item."""
    return opaque_id("item", judgment.item_id, cast.bob.pk)


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

    def test_the_work_goes_on_while_a_submit_fails(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=2)))
        first = item(page)
        page.route("**/work/", lambda route: route.abort())
        press(page, "2 1 4 3 Enter")
        expect(page.locator(f'#work:not([data-item="{first}"])')).to_be_visible()
        expect(page.locator("#not-saved")).to_contain_text("Your work on 1 item is kept on this device")
        second = item(page)
        press(page, "3 1")
        page.unroute("**/work/")  # it is sent again by itself
        expect(page.locator(".toast", has_text="is saved now")).to_be_visible()
        expect(page.locator("#not-saved")).to_be_hidden()
        assert (item(page), order(page)) == (second, "B>A")
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
        expect(page.locator("#not-saved")).to_be_hidden()
        expect_left(page, 1)
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

    def test_the_last_held_item_stays_until_the_server_has_it(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=3)))
        held: list[Route] = []
        page.route("**/work/", lambda route: held.append(route))
        press(page, "1 2 3 4 Enter 4 3 2 1 Enter")
        expect(page.locator('#work[aria-busy="true"]')).to_be_visible()
        second = item(page)
        page.route("**/work/", lambda route: route.abort())
        held[0].abort()
        expect(page.locator("#not-saved")).to_contain_text("Your work on 2 items is kept on this device")
        expect(page.locator('#work[aria-busy="true"]')).to_have_count(0)
        assert (item(page), order(page)) == (second, "D>C>B>A")
        page.unroute("**/work/")  # both are sent again by themselves
        expect(page.locator(f'#work:not([data-item="{second}"])')).to_be_visible()
        wait_for_submit(page)
        expect_saved([1, 2, 3, 4], [4, 3, 2, 1])
        expect_left(page, 1)

    def test_what_is_changed_while_an_earlier_submit_is_sent_is_not_taken_away(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=3)))
        page.route("**/work/", lambda route: route.abort())
        press(page, "1 2 3 4 Enter 1 2 3 4 Enter")
        expect(page.locator("#not-saved")).to_contain_text("Your work on 2 items")
        second = item(page)
        held: list[Route] = []
        page.route("**/work/", lambda route: held.append(route))
        page.evaluate("dispatchEvent(new Event('online'))")
        page.wait_for_function("(submit) => submit.isSubmitting()", arg=module(page, "submit"))
        press(page, "d 1")
        until(lambda: (page.wait_for_timeout(50), held)[1], "the first is on its way")
        held[0].continue_()
        wait_for_submit(page)
        page.unroute("**/work/")
        assert (item(page), order(page)) == (second, "A=D>B>C")
        press(page, "Enter")
        expect(page.locator(f'#work:not([data-item="{second}"])')).to_be_visible()
        expect_saved([1, 2, 3, 4], [1, 2, 3, 1])

    def test_an_unsafe_answer_above_a_safe_one_stays_on_the_screen(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        open_with_next(page, url(cast.project(items=2, k=3, asks_safety=True)))
        first = item(page)
        page.locator('input[name="safe-A"][value="unsafe"]').check(force=True)
        for letter in "BC":
            page.locator(f'input[name="safe-{letter}"][value="safe"]').check(force=True)
        press(page, "a 1 b 2 c 3 Enter")
        page.wait_for_function("(submit) => !submit.isSubmitting()", arg=module(page, "submit"))
        expect(page.locator("#errors [role=alert]")).to_be_visible()
        assert item(page) == first
        assert "Next item" not in page.locator("#announcement").inner_text()

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

    def test_items_follow_one_another_as_quickly_as_somebody_types(
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
        assert Judgment.objects.count() == 9
        assert not Draft.objects.exists()


class TestSeveralAhead:
    """A project whose pages hold three items."""

    def open(self, page: Page, cast: Cast, sign_in: SignIn, items: int) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=items, k=2, items_ahead=3)))
        until(lambda: Slot.objects.filter(state="leased").count() == min(items, 4), "they are held")
        page.wait_for_function(
            "(nextItem) => nextItem.heldTickets().length === 3", arg=module(page, "next-item")
        )

    def judge(self, page: Page, key: str) -> str:
        """Press it on the item on the screen. Its id."""
        page.locator("#work[data-ready]").wait_for()  # a press before counts as a double press
        here = item(page)
        press(page, key)
        return here

    def test_four_items_are_judged_without_a_network(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        started = time.monotonic()
        self.open(page, cast, sign_in, items=6)
        page.context.set_offline(True)
        judged = []
        for number, key in enumerate("1827", start=1):
            judged.append(self.judge(page, key))
            expect(page.locator("#not-saved")).to_contain_text(f"Your work on {number} item")
        assert len(set(judged)) == 4
        assert item(page) == judged[3]
        stored = page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('unsent:')).length")
        assert stored == 4  # whatever happens to the page
        assert not Judgment.objects.exists()
        worked = time.monotonic() - started
        page.wait_for_timeout(5_100)
        page.context.set_offline(False)
        expect(page.locator(f'#work:not([data-item="{judged[3]}"])')).to_be_visible()
        expect(page.locator(".toast", has_text="is saved now")).to_be_visible()
        wait_for_submit(page)
        found = Judgment.objects.order_by("id")
        assert [shown_id(judgment, cast) for judgment in found] == judged
        assert saved_ranks() == [[1, 2], [2, 1], [1, 2], [2, 1]]
        assert [judgment.degree for judgment in found] == ["significantly"] * 2 + ["better"] * 2
        for judgment in found:  # timed by when they were made, not by when they arrived
            assert judgment.seconds <= worked
            assert judgment.submitted_at < judgment.created_at - timedelta(seconds=5)
        assert [one.submitted_at for one in found] == sorted(one.submitted_at for one in found)
        expect(page.locator("[data-today]")).to_have_text("4")
        self.judge(page, "1")
        until(lambda: Judgment.objects.count() == 5, "the next one is saved as ever")
        assert Judgment.objects.latest("id").submitted_at is None

    def test_what_was_judged_before_the_page_was_closed_is_sent_by_the_next_visit(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        self.open(page, cast, sign_in, items=4)
        address = page.url
        page.route("**/work/**", lambda route: route.abort())
        judged = [self.judge(page, key) for key in "188"]
        expect(page.locator("#not-saved")).to_contain_text("Your work on 3 items")
        other = page.context.new_page()
        page.close()
        other.goto(address)
        expect(other.locator(".toast", has_text="is saved now")).to_be_visible()
        wait_for_submit(other)
        assert [shown_id(judgment, cast) for judgment in Judgment.objects.order_by("id")] == judged
        assert item(other) not in judged
        assert saved_ranks() == [[1, 2], [2, 1], [2, 1]]

    def test_what_the_server_refuses_comes_back_and_the_item_on_the_screen_is_held(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        self.open(page, cast, sign_in, items=4)
        page.context.set_offline(True)
        first = self.judge(page, "1")
        second = item(page)
        page.evaluate(
            """() => {
                // as if the page had been altered: the outbox holds a choice that the server does not know
                const links = [...document.querySelectorAll("link[rel=modulepreload]")];
                return import(links.find((link) => link.href.includes("/outbox.")).href).then(({unsent}) => {
                    for (const entry of unsent()) entry.body = entry.body.replace(/choice=[^&]*/, "choice=nonsense");
                });
            }"""
        )
        page.context.set_offline(False)
        expect(page.locator("#errors [role=alert]")).to_be_visible()
        assert item(page) == first
        assert self.judge(page, "8") == first
        expect(page.locator(f'#work[data-item="{second}"]')).to_be_visible()
        expect_saved([2, 1])

    def test_nobody_holds_more_than_the_project_allows(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        self.open(page, cast, sign_in, items=8)
        page.route("**/work/", lambda route: route.abort())
        for key in "18":
            self.judge(page, key)
        expect(page.locator("#not-saved")).to_contain_text("Your work on 2 items")
        page.unroute("**/work/")
        expect(page.locator("#not-saved")).to_be_hidden()
        page.wait_for_function(
            "(nextItem) => nextItem.heldTickets().length === 3", arg=module(page, "next-item")
        )
        assert Slot.objects.filter(state="leased").count() == 4
        assert Judgment.objects.count() == 2
