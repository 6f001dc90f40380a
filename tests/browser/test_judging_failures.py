"""The annotators' screens with a network or a server that is not always there, and with two tabs."""

from __future__ import annotations

import os
import random
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Page, Route, expect

from annotation.models import Judgment, Member
from tests import builders
from tests.browser.judging import (
    Cast,
    SignIn,
    cast,
    expect_left,
    expect_saved,
    lose_response,
    order,
    press,
    saved_ranks,
    url,
)
from tests.processes import until

__all__ = ["cast"]


class TestWhenThingsGoWrong:
    def test_a_lost_connection_loses_nothing(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.route("**/work/ahead/", lambda route: route.abort())  # nothing is held: the item stays
        page.goto(url(cast.project(items=2)))
        press(page, "1 2 3 4")
        page.context.set_offline(True)
        press(page, "Enter")
        expect(page.locator("#not-saved")).to_contain_text(
            "Offline. Your work on 1 item is kept on this device"
        )
        assert order(page) == "A>B>C>D"
        page.context.set_offline(False)  # nothing is pressed: it is sent again by itself
        expect_left(page, 1)
        expect_saved([1, 2, 3, 4])

    def test_what_could_not_be_sent_is_sent_by_the_next_visit(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        project = cast.project(items=2)
        page.goto(url(project))
        page.route("**/work/", lambda route: route.abort())
        press(page, "4 3 2 1 Enter")
        expect(page.locator("#not-saved")).to_be_visible()
        other = page.context.new_page()
        page.close()
        assert not Judgment.objects.exists()
        other.goto(url(project))
        expect(other.locator(".toast", has_text="is saved now")).to_be_visible()
        expect_left(other, 1)
        expect_saved([4, 3, 2, 1])

    def test_local_draft_is_restored_after_a_reload(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1)))
        page.route("**/work/draft/", lambda route: route.abort())
        with page.expect_request("**/work/draft/"):
            press(page, "2 1 3")
        page.reload()
        expect(page.locator(".toast")).to_contain_text("is back")
        assert order(page) == "B>A>C"

    def test_removed_member_sees_the_true_reason(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        project = cast.project(items=1)
        with page.expect_request(
            "**/work/ahead/"
        ):  # what is kept is sent again when the page starts, and no more
            page.goto(url(project))
        member = Member.objects.filter(project=project, user=cast.bob)
        member.delete()
        press(page, "1 2 3 4 Enter")
        expect(page.locator("#not-saved")).to_contain_text("You are no longer a member of this project")
        builders.join(project, cast.bob, Member.Role.ANNOTATOR)
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".finished")).to_be_visible()
        expect_saved([1, 2, 3, 4])

    def test_an_answer_lost_on_its_way_back_is_not_counted_twice(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2)))
        page.route("**/work/", lose_response)
        press(page, "1 2 3 4 Enter")
        expect(page.locator("#not-saved")).to_be_visible()
        assert Judgment.objects.count() == 1
        page.unroute("**/work/")  # it is sent again by itself
        expect_left(page, 1)
        expect_saved([1, 2, 3, 4])

    def test_who_changes_their_mind_after_a_lost_answer_is_told_what_stands(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.route("**/work/ahead/", lambda route: route.abort())  # nothing is held: the item stays
        page.goto(url(cast.project(items=2)))
        page.route("**/work/", lose_response)
        press(page, "1 2 3 4 Enter")
        expect(page.locator("#not-saved")).to_be_visible()
        page.unroute("**/work/")
        press(page, "a 4 b 1")
        page.get_by_role("button", name="Submit").click()
        expect(page.locator(".toast", has_text="You have judged this item before")).to_be_visible()
        expect_left(page, 1)
        expect_saved([1, 2, 3, 4])

    def test_a_broken_server_keeps_the_page(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1)))
        page.route("**/work/", lambda route: route.fulfill(status=500, body="broken"))
        press(page, "1 2 3 4 Enter")
        expect(page.locator("#not-saved")).to_contain_text("error 500")
        page.unroute("**/work/")
        press(page, "Enter")
        expect(page.locator(".finished")).to_be_visible()
        expect_saved([1, 2, 3, 4])

    def test_signed_out_meanwhile_one_signs_in_and_tries_again(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1)))
        press(page, "1 2 3 4")
        page.context.clear_cookies(name="sessionid")
        press(page, "Enter")
        expect(page.locator("#not-saved")).to_contain_text("You are signed out")
        with page.expect_popup() as opened:
            page.get_by_role("link", name="Sign in").click()
        other = opened.value
        other.fill("#id_login", "bob")
        other.fill("#id_password", "correct horse")
        other.get_by_role("button", name="Sign in").click()
        expect(other.get_by_role("heading", name="Welcome")).to_be_visible()
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".finished")).to_be_visible()
        expect_saved([1, 2, 3, 4])

    def test_work_stays_its_users_when_somebody_else_signs_in(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        project = cast.project(items=2)
        dana = builders.user("dana")
        builders.join(project, dana, Member.Role.ANNOTATOR)
        page.route("**/work/ahead/", lambda route: route.abort())  # nothing is held: the item stays
        page.goto(url(project))
        press(page, "1 2 3 4")
        sign_in(page, dana)
        press(page, "Enter")
        expect(page.locator("#not-saved")).to_contain_text("You are signed out")
        assert order(page) == "A>B>C>D"
        assert not Judgment.objects.exists()
        sign_in(page, cast.bob)
        page.get_by_role("button", name="Try again").click()
        expect_left(page, 1)
        expect_saved([1, 2, 3, 4])
        assert Judgment.objects.get().annotator == cast.bob

    def test_enter_twice_submits_once(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=3)))
        press(page, "1 2 3 4 Enter Enter Enter")
        expect_left(page, 2)
        expect(page.locator(".toast", has_text="Still to rank")).to_have_count(
            page.locator(".toast:not([data-revision])").count()
        )
        expect_saved([1, 2, 3, 4])

    def test_the_second_of_two_tabs_is_told(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        project = cast.project(items=2)
        page.goto(url(project))
        other = page.context.new_page()
        other.goto(url(project))
        press(page, "1 2 3 4 Enter")
        expect_left(page, 1)
        press(other, "4 3 2 1 Enter")
        expect(other.locator(".toast")).to_contain_text("You have judged this item before")
        expect_left(other, 1)
        expect_saved([1, 2, 3, 4])

    @pytest.mark.slow(40)
    def test_no_judgment_is_lost_or_doubled_while_the_network_comes_and_goes(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        """Requests are cut at random: before they reach the server, or on the way back. What reached it first is saved."""
        number = int(os.environ.get("NETWORK_JUDGMENTS", "25"))
        rng = random.Random(7)
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=number, k=3, items_ahead=3)))
        cut = 0
        arrived: dict[str, list[int]] = {}

        def come_and_go(route: Route) -> None:
            nonlocal cut
            chance = rng.random()
            cut += chance < 0.4
            if chance < 0.2:
                route.abort()
                return
            form = parse_qs(route.request.post_data or "")
            if "rank-A" in form and route.request.url.endswith("/work/"):
                arrived.setdefault(form["ticket"][0], [int(form[f"rank-{letter}"][0]) for letter in "ABC"])
            if chance < 0.4:
                lose_response(route)
            else:
                route.continue_()

        page.route("**/work/**", come_and_go)
        for _ in range(40 * number):
            if page.locator(".finished").count():
                break
            press(page, "a 1 b 2 c 3 Enter")
            page.evaluate("dispatchEvent(new Event('online'))")
            page.wait_for_timeout(50)
        page.unroute("**/work/**")
        expect(page.locator(".finished")).to_be_visible()
        assert cut > number / 5
        until(lambda: Judgment.objects.count() >= number, "all are saved")
        assert sorted(saved_ranks()) == sorted(arrived.values())
        assert len(arrived) == number == Judgment.objects.values("item").distinct().count()
