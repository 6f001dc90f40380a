"""A project's own questions in the annotator's browser: ratings by keyboard, comments on passages, texts with a least length."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from annotation.actions.projects import write_questions
from annotation.logic.questions import read_questions
from annotation.models import Judgment, QuestionSet
from tests.browser.judging import Cast, SignIn, cast, press, url
from tests.processes import until

__all__ = ["cast"]

QUESTIONS = [
    {"kind": "rating", "label": "Honesty", "scale": 10},
    {"kind": "rating", "label": "Style", "required": False},
    {"kind": "flag", "label": "Rude"},
    {"kind": "text", "label": "What is missing?", "min_chars": 10},
    {"kind": "comments", "label": "Comments"},
]


def ask(page: Page, cast: Cast, sign_in: SignIn) -> None:
    project = cast.project(items=1, k=2)
    write_questions(project=project, questions=read_questions(QUESTIONS), author=cast.alice)
    sign_in(page, cast.bob)
    page.goto(url(project))
    expect(page.locator(".answer.is-current")).to_be_visible()
    page.wait_for_selector("[data-ready]")


def select_first_word(page: Page) -> None:
    page.evaluate(
        """() => {
            const node = document.querySelector(".answer .prose p").firstChild;
            getSelection().setBaseAndExtent(node, 0, node, node.data.indexOf(" "));
        }"""
    )


class TestOwnQuestions:
    def test_from_the_keys_to_the_database(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        ask(page, cast, sign_in)
        press(page, "a Shift+Digit0 Shift+Digit4 b Shift+Digit3")
        expect(page.locator("#announcement")).to_have_text("Answer B: honesty 3 of 10.")
        press(page, "l Space Escape")  # the first flag of answer B
        press(page, "a")
        page.locator(".answer").first.locator("details.comments summary").click()
        select_first_word(page)
        expect(page.locator(".answer").first.locator("[data-comment-target]")).to_have_text(
            "A comment on this passage"
        )
        page.locator("#comment-A").fill("Which one?")
        page.get_by_role("button", name="Add comment").first.click()
        expect(page.locator(".answer").first.locator(".comment-list li")).to_contain_text("Which one?")
        page.locator("#comment-A").fill("And all in all: fine.")  # not added by its button

        press(page, "Escape 2")
        expect(page.locator("#toasts")).to_contain_text("What is missing?: write a few words.")
        page.locator("#answer-what_is_missing").fill("A source for it.")
        press(page, "Escape 2")
        until(lambda: Judgment.objects.exists(), "the judgment")
        judgment = Judgment.objects.get()
        first, second = judgment.placements_in_order()
        assert (first.criteria, second.criteria) == ({"honesty": 10, "style": 4}, {"honesty": 3})
        assert (first.flags, second.flags) == ([], ["rude"])
        assert judgment.answers == {"what_is_missing": "A source for it."}
        passage, whole = first.comments
        assert (passage["quote"], passage["start"], passage["text"]) == ("Answer", 0, "Which one?")
        assert (whole["quote"], whole["text"]) == ("", "And all in all: fine.")

    def test_comments_come_back_after_a_reload(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        ask(page, cast, sign_in)
        page.locator(".answer").first.locator("details.comments summary").click()
        page.locator("#comment-A").fill("Which one?")
        with page.expect_response("**/work/draft/"):
            page.get_by_role("button", name="Add comment").first.click()
        page.reload()
        item = page.locator(".answer").first.locator(".comment-list li")
        page.locator(".answer").first.locator("details.comments summary").click()
        expect(item).to_contain_text("Which one?")
        item.get_by_role("button").click()
        expect(item).to_have_count(0)


class TestEditor:
    def test_a_lead_adds_presets_and_an_own_question(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        project = cast.project(items=1)
        sign_in(page, cast.alice)
        page.goto(f"/p/{project.slug}/settings/questions/")
        page.get_by_role("button", name="+ Truthfulness").click()
        page.get_by_role("button", name="Add a question").click()
        row = page.locator("[data-question]").last
        row.get_by_label("Kind").select_option("text")
        expect(row.get_by_label("Highest rating")).to_be_hidden()
        row.get_by_label("Label").fill("What is missing?")
        row.get_by_label("Least characters").fill("10")
        page.get_by_role("button", name="Save as version 1").click()
        expect(page.locator("#toasts")).to_contain_text("Saved as version 1")
        assert [q["key"] for q in QuestionSet.objects.get().questions] == ["truthfulness", "what_is_missing"]
