"""Quality, flags, safety, reasons, differences, writing, and one's own judgments: by keyboard, and as they are heard."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from annotation.actions.queue import ItemSpec, enqueue
from annotation.models import Judgment, Placement, Project, Skip
from tests import builders
from tests.browser.judging import (
    Cast,
    NewPage,
    SignIn,
    cast,
    expect_left,
    expect_saved,
    module,
    order,
    press,
    url,
    wait_for_submit,
)
from tests.processes import until

__all__ = ["cast"]


def ready(page: Page) -> None:
    page.locator("#work[data-ready]").wait_for()


def expect_announcement(page: Page, text: str) -> None:
    expect(page.locator("#announcement")).to_have_text(text)


class TestRatings:
    def safety(self, cast: Cast, **fields: object) -> Project:
        asked: dict[str, object] = {"asks_safety": True, "asks_quality": True, "asks_flags": True}
        return cast.project("Safety", items=2, k=2, **(asked | fields))

    def test_everything_is_said_by_keyboard(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(self.safety(cast)))
        ready(page)
        press(page, "a Shift+Digit6 y")
        expect_announcement(page, "Answer A: safe.")
        press(page, "b Shift+Digit2 n l")
        expect(page.locator('.answer[data-letter="B"] details.flags')).to_have_attribute("open", "")
        press(page, "Space ArrowDown Escape 1")  # the first flag, and out again
        expect_left(page, 1)
        wait_for_submit(page)
        first, second = Placement.objects.order_by("rank")
        assert (first.quality, first.safe, first.flags) == (6, True, [])
        assert (second.quality, second.safe, second.flags) == (2, False, ["fails_instruction"])

    def test_what_is_missing_is_said_before_anything_is_sent(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(self.safety(cast)))
        ready(page)
        press(page, "a Shift+Digit6 y 2")
        expect(page.locator(".toast")).to_contain_text(
            "Every answer needs a quality from 1 to 7; missing: B."
        )
        expect(page.locator('.answer[data-letter="B"]')).to_be_focused()
        press(page, "Shift+Digit2 2")
        expect(page.locator(".toast").last).to_contain_text("missing: B")
        press(page, "n 2")
        expect_left(page, 1)

    def test_an_unsafe_answer_that_is_preferred_goes_to_a_reviewer(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        project = self.safety(cast, asks_quality=False)
        page.goto(url(project))
        ready(page)
        first = page.locator("#work").get_attribute("data-item")
        press(page, "a n b y 2")
        expect(page.locator("#errors")).to_contain_text("A is marked unsafe and cannot be ranked above B")
        assert page.locator("#work").get_attribute("data-item") == first
        assert not Judgment.objects.exists()
        page.get_by_role("button", name="Send to review instead").click()
        expect(page.locator(".toast")).to_contain_text("Sent to a reviewer")
        wait_for_submit(page)
        skip = Skip.objects.get()
        assert skip.reason == "review"
        assert sorted(skip.data["ranks"].values()) == [1, 2]
        assert len(skip.data["marks"]) == 2

    def test_a_mark_can_be_undone(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(self.safety(cast)))
        press(page, "a y n u")
        expect(page.locator('.answer[data-letter="A"] input[value="safe"]')).to_be_checked()
        press(page, "u")
        expect(page.locator('.answer[data-letter="A"] input[value="safe"]')).not_to_be_checked()

    def test_enter_on_a_radio_button_is_no_choice(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(self.safety(cast)))
        ready(page)
        page.locator('.answer[data-letter="A"] input[value="safe"]').focus()
        press(page, "Space Enter")
        page.wait_for_timeout(300)  # nothing is to happen
        expect_left(page, 2)
        assert not Judgment.objects.exists()

    def test_enter_in_the_note_of_a_skip_is_no_reason(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2)))
        press(page, "1 s")
        page.get_by_label("A note").fill("Too hard. 1 2 3")
        page.keyboard.press("Enter")
        expect(page.locator("#skip")).to_be_visible()
        page.get_by_role("button", name="A reviewer should look at it").click()
        expect(page.locator(".toast")).to_contain_text("Sent to a reviewer")
        wait_for_submit(page)
        skip = Skip.objects.get()
        assert (skip.reason, skip.note, list(skip.data["ranks"].values())) == (
            "review",
            "Too hard. 1 2 3",
            [1],
        )


class TestDifferences:
    def test_two_answers_are_compared_word_by_word(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        project = cast.project(k=3)
        answers = ["The cat sat on the mat.", "The cat lay on the mat today.", "Nothing at all."]
        builders.imported(project, {"prompt": "Where?", "responses": answers})
        sign_in(page, cast.bob)
        page.goto(url(project))
        place = {
            text: page.locator(".answer", has_text=text).get_attribute("data-letter") for text in answers
        }
        one, two, three = (place[text] for text in answers)
        press(page, f"{one.lower()} w {two.lower()}")
        dialog = page.locator("#diff")
        expect(dialog).to_contain_text("80% of the words are the same")
        assert page.locator("#diff-left del").all_text_contents() == [f" [only in answer {one}: sat]  "]
        added = " ".join(page.locator("#diff-right ins").all_text_contents())
        assert "lay" in added
        assert "today" in added
        press(page, three.lower())
        expect(page.locator("#diff-right-title")).to_have_text(f"Answer {three} only in answer {three}")
        press(page, "Escape 1")
        assert order(page) == one

    def test_100_kilobytes_are_compared_in_a_moment(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        project = cast.project(k=2)
        long = [" ".join(f"{start}{n}" for n in range(12_000)) for start in "xy"]
        builders.imported(project, {"prompt": "Where?", "responses": long})
        sign_in(page, cast.bob)
        page.goto(url(project))
        took = page.evaluate(
            """async (diff) => {
                const start = performance.now();
                await diff.openForAnswer(document.querySelector(".answer"));
                return performance.now() - start;
            }""",
            module(page, "diff"),
        )
        assert took < 3000
        expect(page.locator("#diff")).to_contain_text("0% of the words")


class TestWriting:
    def project(self, cast: Cast, given: bool = False) -> Project:
        project = cast.project("Letters", task="demonstrations")
        source = cast.project("Source", items=1)
        prompt = source.prompts.get()
        response = prompt.responses.first()
        prompt.pk, prompt.project = None, project
        prompt.save()
        responses = []
        if given:
            author = response.author
            author.pk, author.project = None, project
            author.save()
            response.pk, response.prompt, response.author = None, prompt, author
            response.save()
            responses = [response.pk]
        enqueue(project=project, specs=[ItemSpec(prompt.pk, responses)])
        return project

    def test_an_answer_is_written_with_a_live_preview_and_a_count(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        project = self.project(cast)
        page.goto(url(project))
        with page.expect_response(lambda r: r.url.endswith("/draft/") and r.status == 204):
            page.get_by_label("Your answer").press_sequentially("Dear **Noor**")
        expect(page.locator("#preview strong")).to_have_text("Noor")
        expect(page.locator(".writing-count")).to_have_text("13 characters, 2 words")
        page.reload()
        expect(page.get_by_label("Your answer")).to_have_value("Dear **Noor**")
        expect(page.locator("#preview strong")).to_have_text("Noor")
        page.get_by_label("Your answer").press("Control+Enter")
        expect(page.locator(".finished")).to_be_visible()
        written = Judgment.objects.get().demonstration
        assert written is not None
        assert (written.text, written.author.user) == ("Dear **Noor**", cast.bob)

    def test_a_given_answer_is_made_better_and_one_sees_what_changed(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(self.project(cast, given=True)))
        editor = page.get_by_label("Your answer")
        given = editor.input_value()
        editor.fill(given + " Really.")
        page.get_by_role("button", name="Show my changes").click()
        expect(page.locator("#diff-right ins")).to_contain_text("Really.")
        press(page, "Escape")
        page.get_by_role("button", name="Submit").click()
        expect(page.locator(".finished")).to_be_visible()
        assert Judgment.objects.get().demonstration.text == given + " Really."

    def test_an_empty_answer_is_not_sent(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(self.project(cast)))
        page.get_by_role("button", name="Submit").click()
        expect(page.locator(".toast")).to_contain_text("Write the answer first.")
        expect(page.get_by_label("Your answer")).to_be_focused()


class TestMine:
    def test_one_goes_back_and_changes_ones_mind(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2)))
        press(page, "1 2 3 4 Enter")
        expect_left(page, 1)
        wait_for_submit(page)
        page.get_by_role("link", name="Back").click()
        page.wait_for_url("**/judgments/**")
        until(lambda: order(page) == "A>B>C>D", "the judgment is shown")
        press(page, "d 1 Enter")
        expect(page.locator(".toast")).to_contain_text("Saved as a new revision.")
        expect_left(page, 1)
        expect_saved([1, 2, 3, 4], [1, 2, 3, 1])
        page.goto("/judgments/")
        expect(page.get_by_role("row", name=re.compile("Question"))).to_contain_text("A = D > B > C")

    def test_a_comparison_shows_what_was_pressed(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project("Pairs", items=1, k=2)))
        ready(page)
        press(page, "7")
        expect(page.locator(".finished")).to_be_visible()
        page.goto("/judgments/")
        page.get_by_role("link", name="Question 0?").click()
        expect(page.locator(".degree.is-chosen")).to_have_attribute("value", "1-better")
        ready(page)
        press(page, "2")
        expect(page.locator(".toast")).to_contain_text("Saved as a new revision.")
        expect_saved([2, 1], [1, 2])


class TestNine:
    def test_nine_are_ranked_by_keyboard_alone_and_announced(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1, k=9)))
        expect(page.locator("#announcement")).to_have_attribute("aria-live", "polite")
        press(page, "3")
        expect_announcement(page, "Answer A: rank 3. 8 left.")
        expect(page.locator('.answer[data-letter="B"]')).to_be_focused()
        press(page, "1 4 4")
        expect_announcement(page, "Answer D: rank 4, tied with C. 5 left.")
        press(page, "5 6 7 8 9")
        expect_announcement(
            page,
            "Answer I: rank 9. "
            "Order: B, then A, then C and D tied, then E, then F, then G, then H, then I. All are ranked.",
        )
        press(page, "i ArrowUp")
        expect_announcement(
            page,
            "Order: B, then A, then C and D tied, then E, then F, then G, then I, then H. All are ranked.",
        )
        press(page, "f =")
        expect_announcement(
            page,
            "Order: B, then A, then C and D tied, then E and F tied, then G, then I, then H. All are ranked.",
        )
        press(page, "u")
        expect_announcement(
            page,
            "Undone. Order: B, then A, then C and D tied, then E, then F, then G, then I, then H. All are ranked.",
        )
        press(page, "Enter")
        expect(page.get_by_role("heading", name="No items left for you")).to_be_focused()
        expect_saved([2, 1, 3, 3, 4, 5, 6, 8, 7])

    def test_on_a_phone_everything_is_large_enough_for_a_finger(
        self, new_page: NewPage, cast: Cast, sign_in: SignIn
    ) -> None:
        page = new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
        sign_in(page, cast.bob)
        rank = cast.project(items=1, k=9, asks_quality=True, asks_flags=True, rationale="optional")
        pairs = cast.project("Pairs", items=1, k=2, asks_safety=True)
        small = """() => [...document.querySelectorAll("#work :is(button, a, summary, label:has(input))")]
            .filter((one) => one.offsetParent && !one.closest(".prose"))
            .map((one) => [one.textContent.trim().slice(0, 20), one.getBoundingClientRect()])
            .filter(([, box]) => box.height < 43.5 || (box.width < 36 && box.height < 44))
            .map(([text, box]) => `${text}: ${box.width} x ${box.height}`)"""
        for project in (rank, pairs):
            page.goto(url(project))
            page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
            assert page.evaluate(small) == []
