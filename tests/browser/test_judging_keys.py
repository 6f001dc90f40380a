"""The keys of the judging screens: one meaning at any number of answers, on any keyboard, chosen by the annotator, or off."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from annotation.models import Judgment, Placement, User
from tests.browser.judging import (
    Cast,
    SignIn,
    cast,
    expect_left,
    expect_saved,
    order,
    press,
    url,
    wait_for_submit,
)

__all__ = ["cast"]


def strike(page: Page, key: str, code: str, **modifiers: bool) -> None:
    """A key of another keyboard: what it types, and where it is."""
    page.evaluate(
        """(event) => document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", { ...event, bubbles: true, cancelable: true }))""",
        {"key": key, "code": code, **modifiers},
    )


def current(page: Page) -> str | None:
    return page.locator(".answer.is-current").get_attribute("data-letter")


class TestOneMeaning:
    @pytest.mark.parametrize("k", [3, 9])
    def test_commands_and_letters_do_not_collide(
        self, page: Page, cast: Cast, sign_in: SignIn, k: int
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1, k=k, asks_flags=True)))
        last = "abcdefghi"[k - 1]
        press(page, f"{last} l")
        flags = page.locator(f'.answer[data-letter="{last.upper()}"] details.flags')
        expect(flags).to_have_attribute("open", "")
        press(page, "Escape w")
        expect(page.locator("#diff-left-title")).to_have_text(
            f"Answer {last.upper()} only in answer {last.upper()}"
        )
        press(page, "b")
        expect(page.locator("#diff-right-title")).to_have_text("Answer B only in answer B")
        press(page, "w")
        expect(page.locator("#diff")).to_be_hidden()
        for key, dialog in (("m", "#guidelines"), ("s", "#skip"), ("?", "#keys")):
            press(page, key)
            expect(page.locator(dialog)).to_be_visible()
            press(page, "Escape")
        assert order(page) == ""

    def test_p_goes_back_to_the_judgment_before(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2)))
        press(page, "1 2 3 4 Enter p")  # also while the submit is under way
        page.wait_for_url("**/judgments/**")
        assert order(page) == "A>B>C>D"
        press(page, "p")  # there is none before this one
        expect(page.get_by_role("link", name="Next item")).to_be_visible()

    def test_no_key_fires_with_a_modifier_or_in_a_text(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1, rationale="optional")))
        for modifier in ("ctrlKey", "altKey", "metaKey"):
            strike(page, "1", "Digit1", **{modifier: True})
            strike(page, "s", "KeyS", **{modifier: True})
        strike(page, "S", "KeyS", shiftKey=True)
        strike(page, "B", "KeyB", shiftKey=True)
        assert (order(page), current(page)) == ("", "A")
        page.get_by_label("Why?").press_sequentially("1s?b")
        expect(page.get_by_label("Why?")).to_have_value("1s?b")
        expect(page.locator("dialog[open]")).to_have_count(0)
        press(page, "Escape m")
        expect(page.locator("#guidelines")).to_be_visible()
        press(page, "b 1 s")  # keys of the answers, in a dialog of another kind
        expect(page.locator("dialog[open]")).to_have_count(1)
        assert (order(page), current(page)) == ("", "A")


class TestKeyboards:
    def test_a_numeric_keypad_types_digits(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1, k=3)))
        for digit in "213":
            strike(page, digit, f"Numpad{digit}")
        assert order(page) == "B>A>C"
        strike(page, "0", "Numpad0")
        assert order(page) == "B>A"

    def test_french_digits_need_no_shift(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1, k=3)))
        strike(page, "é", "Digit2")
        strike(page, "&", "Digit1")
        strike(page, "3", "Digit3", shiftKey=True)  # no quality is asked
        assert order(page) == "B>A>C"

    def test_french_digits_with_shift_are_the_quality_where_it_is_asked(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project("Pairs", items=1, k=2, asks_quality=True)))
        page.locator("#work[data-ready]").wait_for()
        press(page, "a")
        strike(page, "6", "Digit6", shiftKey=True)
        press(page, "b")
        strike(page, "2", "Digit2", shiftKey=True)
        strike(page, "à", "Digit0")
        strike(page, '"', "Digit3")
        expect(page.locator(".finished")).to_be_visible()
        wait_for_submit(page)
        assert Judgment.objects.get().degree == "slightly"
        assert list(Placement.objects.order_by("rank").values_list("quality", flat=True)) == [6, 2]

    def test_a_sign_on_a_shifted_digit_is_a_command(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1, k=3, asks_quality=True)))
        press(page, "1 2 b")
        strike(page, "=", "Digit0", shiftKey=True)  # a German keyboard
        assert order(page) == "A=B"

    def test_letters_of_another_alphabet_count_by_their_place(
        self, page: Page, cast: Cast, sign_in: SignIn
    ) -> None:
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=1, k=3)))
        strike(page, "с", "KeyC")  # a Russian keyboard
        assert current(page) == "C"
        strike(page, "ы", "KeyS")
        expect(page.locator("#skip")).to_be_visible()


class TestOnesOwnKeys:
    def test_a_key_is_changed_by_pressing_it(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        sign_in(page, cast.bob)
        work = url(cast.project(items=1))
        page.goto(work)
        press(page, "?")
        page.get_by_role("link", name="Change keys").click()
        skip = page.get_by_label("Skip", exact=True)
        skip.press("u")
        expect(skip).to_have_value("U")
        page.get_by_role("button", name="Save keys").click()
        expect(page.locator("#id_skip_error")).to_contain_text("“U” is the key of both Undo and Skip")
        skip.press("k")
        page.get_by_role("button", name="Save keys").click()
        expect(page.locator(".toast")).to_contain_text("Your keys are saved.")
        assert User.objects.get(username="bob").judging_keys == {"skip": "K"}
        page.goto(work)
        expect(page.get_by_role("button", name="Skip").locator("kbd")).to_have_text("K")
        press(page, "s")
        expect(page.locator("dialog[open]")).to_have_count(0)
        press(page, "k")
        expect(page.locator("#skip")).to_be_visible()

    def test_keys_can_be_turned_off(self, page: Page, cast: Cast, sign_in: SignIn) -> None:
        cast.bob.judging_shortcuts = False
        cast.bob.save()
        sign_in(page, cast.bob)
        page.goto(url(cast.project(items=2, k=3)))
        press(page, "1 s ? c =")
        assert (order(page), current(page)) == ("", "A")
        expect(page.locator("dialog[open]")).to_have_count(0)
        expect(page.get_by_role("button", name="Skip").locator("kbd")).to_be_hidden()
        for letter, rank in zip("ABC", "213", strict=True):
            page.locator(f'.answer[data-letter="{letter}"] input[value="{rank}"]').focus()
            press(page, "Space")
        assert order(page) == "B>A>C"
        press(page, "Enter")
        expect_left(page, 1)
        expect_saved([2, 1, 3])
