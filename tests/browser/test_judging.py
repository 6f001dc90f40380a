"""A day of the annotators': by keyboard, by mouse, on a phone, and with a server that is not always there."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from annotation.actions import import_rows
from annotation.models import Draft, Judgment, Skip
from tests import builders
from tests.browser.judging import (
    Cast,
    NewPage,
    SignIn,
    cast,
    chip,
    drag,
    expect_left,
    expect_saved,
    order,
    press,
    saved_ranks,
    url,
)
from tests.processes import until

__all__ = ["cast"]


class TestRank:
    def test_it_is_a_day_s_work_by_keyboard_alone(self, page: Page, cast: Cast) -> None:
        cast.project(items=4)
        page.goto("/")
        expect(page.locator("#id_login")).to_be_focused()
        page.keyboard.type("bob")
        page.keyboard.press("Tab")
        page.keyboard.type("correct horse")
        page.keyboard.press("Enter")
        start = page.get_by_role("link", name="Start ranking")
        start.focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/work/")

        expect_left(page, 4)
        press(page, "2 1 4 3")  # each digit moves on to the next answer
        assert order(page) == "B>A>D>C"
        press(page, "Enter")
        expect_left(page, 3)
        expect(page.locator("h1")).to_be_focused()

        press(page, "c 1 a 2 2 2")  # letters choose, the same digit is a tie; d gets the third 2
        assert order(page) == "C>A=B=D"
        press(page, "Enter")
        expect_left(page, 2)

        press(page, "1 2 3 4 d ArrowUp ArrowUp")  # moved past two neighbours
        assert order(page) == "A>D>B>C"
        press(page, "c =")  # tied with the one above
        assert order(page) == "A>D>B=C"
        press(page, "a ArrowDown u 0")  # moved, undone, and without a rank again
        assert order(page) == "D>B=C"
        press(page, "Enter")  # refused: A has none
        expect(page.locator(".toast.warn")).to_contain_text("Still to rank: A.")
        press(page, "a 4 Enter")
        expect_left(page, 1)

        press(page, "1 1 1 1 Enter")
        expect(page.get_by_role("heading", name="No items left for you")).to_be_focused()
        expect_saved([2, 1, 4, 3], [2, 2, 1, 2], [3, 2, 2, 1], [1, 1, 1, 1])

    def test_it_says_the_order_to_those_who_hear_it(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1)))
        press(page, "1 2 2")
        expect(page.locator("#announcement")).to_have_text("Answer C: rank 2, tied with B. 1 left.")

    def test_it_works_by_buttons_and_dragging(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2)))
        for letter, rank in (("A", "3"), ("B", "1"), ("C", "3"), ("D", "2")):
            page.locator(f'.answer[data-letter="{letter}"] input[value="{rank}"]').click()
        assert order(page) == "B>D>A=C"
        page.get_by_role("button", name="Submit").click()
        expect_left(page, 1)

        ranked = page.locator("#ranked")
        drag(page, chip(page, "C"), ranked)
        assert order(page) == "C"
        drag(page, chip(page, "A"), ranked, 0.9)
        drag(page, chip(page, "D"), chip(page, "C").locator("span"), 0.1)
        assert order(page) == "D>C>A"
        drag(page, chip(page, "B"), ranked, 0.9)
        assert order(page) == "D>C>A>B"
        chip(page, "A").locator(".sign").click()
        assert order(page) == "D>A=C>B"
        page.get_by_role("button", name="Undo").click()
        assert order(page) == "D>C>A>B"
        drag(page, chip(page, "D"), page.locator("#unranked"))
        assert order(page) == "C>A>B"
        page.get_by_role("button", name="Undo").click()
        page.get_by_role("button", name="Submit").click()
        expect(page.locator(".finished")).to_be_visible()
        expect_saved([3, 1, 3, 2], [3, 4, 2, 1])

    def test_a_reload_brings_back_what_was_given(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2)))
        with page.expect_response(lambda r: r.url.endswith("/draft/") and r.status == 204):
            press(page, "2 1 1")
        texts = page.locator(".answer-body").all_inner_texts()
        page.reload()
        assert page.locator(".answer-body").all_inner_texts() == texts
        assert order(page) == "B=C>A"

    def test_leaving_at_once_keeps_it_too(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        project = cast.project(items=1)
        page.goto(url(project))
        press(page, "3")
        page.goto("/")  # before the draft was due
        expect(page.locator("h1")).to_be_visible()
        until(Draft.objects.exists, "the draft is saved")
        page.goto(url(project))
        assert order(page) == "A"

    def test_skipping_takes_two_keys(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2)))
        press(page, "s 3")
        expect(page.locator(".toast")).to_contain_text("Skipped.")
        assert Skip.objects.get().reason == "cannot_judge"
        expect(page.locator("dialog[open]")).to_have_count(0)

    def test_the_guidelines_and_the_keys_are_one_key_away(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1)))
        press(page, "m")
        expect(page.locator("#guidelines")).to_contain_text("Prefer the better answer.")
        press(page, "1 Escape ?")  # a key for the drawer is none for the answers
        expect(page.locator("#keys")).to_be_visible()
        press(page, "Escape")
        assert order(page) == ""

    def test_it_works_without_scripts(self, new_page: NewPage, cast: Cast, sign_in: SignIn) -> None:
        page = new_page(java_script_enabled=False)
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2)))
        for letter, rank in (("A", "2"), ("B", "1"), ("C", "2"), ("D", "4")):
            page.locator(f'.answer[data-letter="{letter}"] input[value="{rank}"]').check()
        page.get_by_role("button", name="Submit").click()
        expect_left(page, 1)
        page.get_by_role("button", name="Unsafe to read").click()
        expect(page.locator(".finished")).to_be_visible()
        expect_saved([2, 1, 2, 3])
        assert Skip.objects.get().reason == "unsafe"

    def test_scripts_in_a_text_do_not_run(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        project = cast.project(k=3)
        run = "window.owned = 1"
        evil = (
            f"<script>{run}</script> <img src=x onerror='{run}'> <b hx-get='/' hx-trigger='load'>b</b> "
            f"[a](javascript:{run}) ![b](http://elsewhere.example/x.png)\n\n"
            f"```js\n</code><script>{run}</script>\n```"
        )
        lines = builders.lines({"prompt": evil, "responses": [evil, "two", "three"]})
        assert not import_rows.import_lines(project=project, lines=lines).errors
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        sign_in(page, cast.bob)
        page.goto(url(project), wait_until="networkidle")
        expect(page.locator(".answer").first).to_contain_text("e")
        assert page.evaluate("window.owned") is None
        expect(page.locator(".prose").locator("script, img, b")).to_have_count(0)
        assert not [address for address in asked if "elsewhere" in address]


class TestConversation:
    def test_the_last_message_is_whole_and_the_earlier_ones_are_folded(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn
    ) -> None:
        project = cast.project()
        turns = [
            {"role": role, "content": f"{role} says: " + "An ordinary sentence of some length. " * 30}
            for role in ("system", "user", "assistant", "user")
        ]
        turns[-1]["content"] += "And this is the question?"
        builders.imported(project, {"prompt": turns, "responses": ["Yes.", "No."]})
        page = new_page(viewport={"width": 1280, "height": 720})
        sign_in(page, cast.bob)
        page.goto(url(project))
        expect(page.get_by_text("And this is the question?")).to_be_in_viewport()
        expect(page.get_by_text("system says")).to_be_hidden()
        page.get_by_text("3 earlier messages").click()
        expect(page.get_by_text("system says")).to_be_visible()


class TestCompare:
    def test_one_press_is_choice_and_degree(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project("Pairs", items=3, k=2)))
        page.locator("#work[data-ready]").wait_for()
        press(page, "1")
        expect_left(page, 2)
        page.locator("#work[data-ready]").wait_for()
        page.get_by_role("button", name="B is slightly better").click()
        expect_left(page, 1)
        page.locator("#work[data-ready]").wait_for()
        press(page, "5")
        expect(page.locator(".finished")).to_be_visible()
        expect_saved([1, 2], [2, 1], [2, 1])
        degrees = Judgment.objects.order_by("id").values_list("degree", flat=True)
        assert list(degrees) == ["significantly", "slightly", "negligibly"]

    def test_a_slip_of_the_finger_is_changed(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        project = cast.project("Pairs", items=3, k=2)
        page.goto(url(project))
        page.locator("#work[data-ready]").wait_for()
        press(page, "1")
        expect(page.locator(".toast")).to_contain_text("Saved: A is significantly better")
        expect(page.locator(".toast").get_by_role("link", name="Change")).to_contain_text("U")
        press(page, "u")
        page.wait_for_url("**/judgments/**")
        page.locator("#work[data-ready]").wait_for()
        page.get_by_role("button", name="B is slightly better").click()
        page.wait_for_url("**/work/")
        expect_left(page, 2)
        assert list(Judgment.objects.current().values_list("degree", flat=True)) == ["slightly"]
        assert Judgment.objects.count() == 2

    def test_a_toast_leads_back_to_a_ranking(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2)))
        press(page, "1 2 2 3 Enter")
        toast = page.locator(".toast")
        expect(toast).to_contain_text("Saved: A > B = C > D")
        toast.get_by_role("link", name="Change").click()
        page.wait_for_url("**/judgments/**")
        assert Judgment.objects.count() == 1

    def test_a_double_click_does_not_judge_the_next_item(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project("Pairs", items=3, k=2)))
        page.locator("#work[data-ready]").wait_for()
        page.evaluate("""document.addEventListener("htmx:load", () =>
            document.querySelectorAll(".degree")[1].click())""")  # at once: the item is not even read
        page.get_by_role("button", name="A is better").dblclick()
        expect_left(page, 2)
        page.locator("#work[data-ready]").wait_for()
        page.wait_for_timeout(300)  # nothing is to happen
        expect_left(page, 2)
        assert Judgment.objects.count() == 1

    def test_a_failed_press_is_tried_again_as_it_was(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project("Pairs", items=1, k=2)))
        page.locator("#work[data-ready]").wait_for()
        page.context.set_offline(True)
        press(page, "8")
        expect(page.locator("#not-saved")).to_be_visible()
        page.context.set_offline(False)  # it is sent again by itself
        expect(page.locator(".finished")).to_be_visible()
        assert (saved_ranks(), Judgment.objects.get().degree) == ([[2, 1]], "significantly")


class TestScreens:
    def test_nothing_scrolls_sideways_on_a_phone(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn
    ) -> None:
        wide = (
            f"{'x' * 300}\n\n| {' | '.join('column' * 3 for _ in range(12))} |\n|{'---|' * 12}\n"
            f"\n```\n{'code ' * 80}\n```\n\n# {'heading' * 30}\n\n`{'y' * 200}`"
        )
        rank, compare = cast.project("R" * 100, k=9), cast.project("C", k=2)
        for project in (rank, compare):
            answers = [f"{wide} {n}" for n in range(project.k)]
            lines = builders.lines({"prompt": wide, "responses": answers})
            assert not import_rows.import_lines(project=project, lines=lines).errors
        page = new_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)

        def fits(address: str) -> None:
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, address

        fits("/sign-in/")
        sign_in(page, cast.bob)
        fits("/")
        fits(url(rank))
        press(page, "1 2 3 4 5 6 7 8 9")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        fits(url(compare))
        fits("/password/")

    def test_the_theme_is_kept(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.emulate_media(color_scheme="light")
        page.goto("/")
        page.locator("details.menu summary").click()
        theme = page.get_by_role("button", name="Theme")
        theme.click()
        theme.click()
        expect(theme).to_contain_text("Dark")
        page.reload()
        assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
