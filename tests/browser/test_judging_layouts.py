"""The judging screens at any size, in each layout: what is readable, what can be reached, and what is announced."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from annotation.models import Judgment, Member, Project, User
from tests import builders
from tests.browser.judging import (
    Cast,
    NewPage,
    SignIn,
    cast,
    expect_saved,
    order,
    press,
    url,
    wait_for_next_item,
    wait_for_submit,
)
from tests.browser.test_accessibility import AXE, RULES_ON_COLOURS, problems
from tests.processes import until

__all__ = ["cast"]

LAYOUTS = User.JudgingLayout.values
ZOOMED = {"width": 640, "height": 400}
"""A window of 1280 x 800 at 200% zoom."""
SIZES = {"zoomed": ZOOMED, "laptop": {"width": 1366, "height": 640}, "phone": {"width": 390, "height": 844}}
ASKED: dict[str, object] = {"asks_quality": True, "asks_flags": True, "asks_safety": True}
SENTENCE = "An ordinary sentence of some length. "


def projects(cast: Cast, prompt: str = "Why?", **fields: object) -> dict[str, Project]:
    """A comparison of two short answers, a ranking of nine, and a demonstration."""
    made = {
        "compare": cast.project("Pairs", k=2, **fields),
        "rank": cast.project("Nine", k=9, **fields),
        "write": cast.project("Letters", task="demonstrations"),
    }
    for project in made.values():
        answers = [SENTENCE * (n + 6) + str(n) for n in range(project.k)]
        builders.imported(
            project, {"prompt": prompt} | ({} if project.task == "demonstrations" else {"responses": answers})
        )
    return made


def choose(cast: Cast, layout: str) -> None:
    cast.bob.judging_layout = layout
    cast.bob.save()


def widths(page: Page) -> tuple[int, int]:
    """Of the page's content, and of the window."""
    found = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    return found[0], found[1]


def visible_text(page: Page) -> float:
    """How many pixels of the first text, or of the editor, stand in the window above the bar."""
    return float(
        page.evaluate("""() => {
            const bar = document.querySelector(".action-bar").getBoundingClientRect();
            const text = document.querySelector(".answer .prose, #text").getBoundingClientRect();
            return Math.min(text.bottom, bar.top) - text.top;
        }""")
    )


class TestSizes:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("more", ["plain", "ratings and a warning"])
    def test_answers_are_readable_on_the_first_screen(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn, size: str, more: str
    ) -> None:
        made = projects(cast, **({} if more == "plain" else ASKED))
        if more != "plain":
            Member.objects.filter(user=cast.bob).update(warning="Please read the guidelines again.")
        page = new_page(viewport=SIZES[size])
        sign_in(page, cast.bob)
        for kind, project in made.items():
            page.goto(url(project))
            page.locator("#work[data-kind]").wait_for()
            assert widths(page)[0] <= widths(page)[1], kind
            assert visible_text(page) >= 48, (kind, "two lines of text")
            share = page.locator(".action-bar").evaluate("(bar) => bar.offsetHeight / innerHeight")
            assert share <= (0.15 if size != "phone" else 0.2), kind
            tops = page.locator(".degree").evaluate_all("(all) => all.map((one) => one.offsetTop)")
            assert len(set(tops)) <= 1, "the choices are in one row"
            small = page.locator(".degree").evaluate_all(
                "(all) => all.filter((one) => one.offsetWidth < 32).length"
            )
            assert small == 0, kind

    def test_a_long_message_scrolls_in_its_box_where_the_window_is_low(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn
    ) -> None:
        project = projects(cast, SENTENCE * 60 + "And this is the question?")["compare"]
        page = new_page(viewport=ZOOMED)
        sign_in(page, cast.bob)
        page.goto(url(project))
        box = page.get_by_role("region", name="Text of the last message")
        assert box.evaluate("(box) => getComputedStyle(box).overflowY") == "auto"
        assert visible_text(page) >= 48
        expect(page.get_by_text("And this is the question?")).not_to_be_in_viewport(ratio=0.9)
        box.focus()
        press(page, "End")
        page.wait_for_function("(box) => box.scrollTop > 0", arg=box.element_handle())
        page.get_by_role("button", name="Show all of the last message").click()
        assert box.evaluate("(box) => box.scrollHeight <= box.clientHeight + 1")

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_nothing_scrolls_sideways_at_320_pixels_or_with_text_of_twice_the_size(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn, layout: str
    ) -> None:
        choose(cast, layout)
        made = projects(cast, **ASKED)
        for width, text in ((320, "100%"), (1280, "200%"), (640, "200%")):
            page = new_page(viewport={"width": width, "height": 800})
            sign_in(page, cast.bob)
            for kind, project in made.items():
                page.goto(url(project))
                page.evaluate("(size) => (document.documentElement.style.fontSize = size)", text)
                assert widths(page)[0] <= width, (kind, width, text)
                wider = """() => [...document.querySelectorAll("#work :is(button, label, legend, h1, h2, p)")]
                    .filter((one) => one.offsetParent && one.getBoundingClientRect().right > innerWidth + 1)
                    .map((one) => one.textContent.trim())"""
                assert page.evaluate(wider) == [], (kind, width, text)

    def test_what_has_the_focus_is_never_below_the_bar(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn
    ) -> None:
        page = new_page(viewport=ZOOMED, reduced_motion="reduce")
        sign_in(page, cast.bob)
        page.goto(url(projects(cast, **ASKED)["compare"]))
        seen = []
        for _ in range(60):
            press(page, "Tab")
            name, hidden = page.evaluate("""() => {
                const one = document.activeElement, box = one.getBoundingClientRect();
                const bar = document.querySelector(".action-bar");
                const top = bar.getBoundingClientRect().top;
                return [one.textContent || one.name, !bar.contains(one) && box.top >= top - 1 && box.height > 0];
            }""")
            assert not hidden, name
            seen.append(name)
        assert any("B is significantly better" in name for name in seen)

    @pytest.mark.parametrize("size", ["phone", "laptop"])
    def test_a_toast_lies_in_the_bar_and_covers_no_control(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn, size: str
    ) -> None:
        is_phone = size == "phone"
        page = new_page(viewport=SIZES[size], has_touch=is_phone, is_mobile=is_phone)
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2)))
        press(page, "Enter")
        toast = page.locator(".toast")
        expect(toast).to_contain_text("Still to rank")
        bar = """(toast) => {
            const [a, b] = [document.querySelector(".action-bar"), toast].map((one) => one.getBoundingClientRect());
            return a.top <= b.top && b.bottom <= a.bottom;
        }"""
        until(lambda: toast.evaluate(bar), "the bar has room for the toast")
        covered = """(toast) => [...document.querySelectorAll(".topbar, .action-bar :is(button, .chips)")].filter((one) => {
            const [a, b] = [one.getBoundingClientRect(), toast.getBoundingClientRect()];
            return a.top < b.bottom && b.top < a.bottom && a.left < b.right && b.left < a.right;
        }).map((one) => one.id || one.className)"""
        assert toast.evaluate(covered) == []
        page.get_by_role("button", name="Dismiss").click()
        room = "() => parseFloat(getComputedStyle(document.querySelector('.action-bar'), '::before').height)"
        until(lambda: page.evaluate(room) == 0, "the room is given back")

    def test_a_phone_shows_the_names_of_the_tools(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn
    ) -> None:
        page = new_page(viewport=SIZES["phone"], has_touch=True, is_mobile=True)
        sign_in(page, cast.bob)
        page.goto(url(cast.project("Pairs", items=1, k=2)))
        tools = page.locator(".work-tools .tool-label:visible")
        assert tools.all_inner_texts() == ["Back", "Skip", "Ask", "Guidelines", "Diff", "View"]
        for tool in tools.all():
            assert tool.evaluate(
                "(one) => one.getBoundingClientRect().width > 12 && one.scrollWidth <= one.clientWidth"
            )
        assert (
            page.locator(".scale").inner_text().lower().count("unsure") == 1 + 2
        )  # and in what is read aloud


class TestView:
    def test_a_choice_applies_at_once_and_is_remembered(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=3)))
        wait_for_next_item(page)
        size = page.locator(".answer .prose").first.evaluate("(one) => getComputedStyle(one).fontSize")
        press(page, "t")
        expect(page.get_by_label("Automatic")).to_be_focused()
        press(page, "1 s")  # keys of the answers, in a menu
        with page.expect_response(lambda r: r.url.endswith("/account/judging/view/") and r.status == 204):
            press(page, "ArrowUp")  # around the end to the last one
        expect(page.get_by_label("One at a time")).to_be_checked()
        expect(page.locator(".answer:visible")).to_have_count(1)
        with page.expect_response(lambda r: r.url.endswith("/account/judging/view/") and r.status == 204):
            page.get_by_label("Extra large").check()
        assert page.locator(".answer .prose").first.evaluate("(one) => getComputedStyle(one).fontSize") > size
        press(page, "Escape")
        expect(page.locator("#view summary")).to_be_focused()
        assert order(page) == ""
        bob = User.objects.get(username="bob")
        assert (bob.judging_layout, bob.judging_text_size) == ("single", "x-large")

        press(page, "1 2 3 4 Enter")  # the next item was loaded before
        expect(page.locator(".answer:visible")).to_have_count(1)
        press(page, "t")
        expect(page.get_by_label("One at a time")).to_be_checked()
        page.reload()
        expect(page.locator(".answer:visible")).to_have_count(1)

    def test_it_works_without_scripts(self, new_page: NewPage, cast: Cast, sign_in: SignIn) -> None:
        page = new_page(java_script_enabled=False)
        sign_in(page, cast.bob)
        project = cast.project(items=1)
        page.goto(url(project))
        page.locator("#view summary").click()
        page.get_by_label("One at a time").check()
        page.get_by_role("button", name="Apply").click()
        expect(page.locator(".toast")).to_contain_text("Layout and text size are saved.")
        page.goto(url(project))
        expect(page.locator(".answer:visible")).to_have_count(
            4
        )  # without scripts nothing would show the others


class TestLayouts:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_nine_answers_are_ranked_and_two_compared_by_keyboard_alone(
        self, page: Page, cast: Cast, sign_in: SignIn, layout: str
    ) -> None:
        choose(cast, layout)
        sign_in(page, cast.bob)
        announcement = page.locator("#announcement")
        page.goto(url(cast.project(items=2, k=9)))
        wait_for_next_item(page)
        press(page, "c 1")
        expect(announcement).to_have_text("Answer C: rank 1. 8 left.")
        expect(page.locator('.answer[data-letter="D"]')).to_be_focused()
        expect(page.locator(".answer:visible")).to_have_count(1 if layout == "single" else 9)
        press(page, "2 3 4 5 6 7 8 9")
        expect(announcement).to_contain_text("Answer B: rank 9. Order: C, then D, then E")
        press(page, "b ArrowUp Enter")
        expect(announcement).to_have_text("Submitted. Next item: Rank the 9 answers.")
        expect(page.locator("h1")).to_be_focused()
        press(page, "s 1")
        expect(announcement).to_have_text("Skipped. No items left for you.")
        expect_saved([9, 8, 1, 2, 3, 4, 5, 6, 7])

        page.goto(url(cast.project("Pairs", items=1, k=2)))
        page.locator("#work[data-ready]").wait_for()
        press(page, "b 7")
        expect(announcement).to_have_text("Submitted. No items left for you.")
        wait_for_submit(page)

    def test_a_digit_only_chooses_where_most_items_are_ranked(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        mixed = cast.project("Mixed", items=0, k=3)
        builders.imported(mixed, {"prompt": "Two?", "responses": ["One.", "Two."]})
        sign_in(page, cast.bob)
        page.goto(url(mixed))
        page.locator("#work[data-ready]").wait_for()
        expect(page.get_by_text("a digit chooses, Enter submits")).to_be_visible()
        press(page, "7 2")
        expect(page.locator(".degree:focus")).to_have_attribute("data-side", "A")
        assert not Judgment.objects.exists()
        press(page, "Enter")
        expect(page.locator("#announcement")).to_have_text("Submitted. No items left for you.")

    def test_one_at_a_time_is_changed_by_arrows_letters_and_tabs(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        choose(cast, "single")
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1, k=3)))
        shown = page.locator(".answer:visible")
        for keys, letter in (("ArrowLeft", "A"), ("ArrowRight", "B"), ("c", "C"), ("ArrowRight", "C")):
            press(page, keys)
            expect(shown).to_have_attribute("data-letter", letter)
            expect(page.locator('.answer-tab[aria-current="true"]')).to_have_text(f"Answer {letter}")
        press(page, "ArrowLeft")
        expect(page.locator("#announcement")).to_have_text("Answer B, 2 of 3.")
        page.get_by_role("button", name="Answer A").click()
        expect(shown).to_have_attribute("data-letter", "A")
        page.get_by_role("button", name="Next answer").click()
        expect(shown).to_have_attribute("data-letter", "B")

    def test_one_at_a_time_is_changed_by_a_swipe(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn
    ) -> None:
        choose(cast, "single")
        page = new_page(viewport=SIZES["phone"], has_touch=True, is_mobile=True)
        sign_in(page, cast.bob)
        page.goto(url(cast.project("Pairs", items=1, k=2)))
        touch = page.context.new_cdp_session(page)
        shown = page.locator(".answer:visible")

        def swipe(dx: int, dy: int = 0) -> None:
            box = shown.locator(".prose").bounding_box()
            assert box
            x, y = 195, box["y"] + 5
            touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
            for part in (0.3, 0.6, 1):
                point = {"x": x + dx * part, "y": y + dy * part}
                touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
            touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

        swipe(-150)
        expect(shown).to_have_attribute("data-letter", "B")
        swipe(-150)  # there is none after it
        swipe(40)  # too short
        expect(shown).to_have_attribute("data-letter", "B")
        swipe(150)
        expect(shown).to_have_attribute("data-letter", "A")

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_axe_finds_nothing(self, new_page: NewPage, cast: Cast, sign_in: SignIn, layout: str) -> None:
        choose(cast, layout)
        made = projects(cast, **ASKED)
        wrong: list[str] = []
        for width, height in ((1280, 800), (390, 844), (640, 400)):
            page = new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
            page.add_init_script(path=AXE)
            sign_in(page, cast.bob)
            for kind, project in made.items():
                page.emulate_media(color_scheme="light")
                page.goto(url(project))
                press(page, "t")
                # of a target half below the bar axe would measure the other half
                page.evaluate("document.querySelector('.action-bar').style.position = 'static'")
                wrong += [f"{kind} at {width}: {problem}" for problem in problems(page)]
                page.emulate_media(color_scheme="dark")
                wrong += [f"{kind} at {width}, dark: {one}" for one in problems(page, RULES_ON_COLOURS)]
        assert not wrong, "\n".join(wrong)
