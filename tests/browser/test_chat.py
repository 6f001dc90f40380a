"""A chat before a real browser. The tests answer in place of the worker, piece by piece, through its own functions."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect
from redis import Redis

from annotation import chat_stream
from annotation.actions import chat_answers
from annotation.actions.chat_answers import Answer
from annotation.models import Author, Chat, ChatSettings, Judgment, Member, Prompt, Turn, User
from config.settings import CHAT_STREAM_URL
from tests import builders

pytestmark = pytest.mark.slow(60)
SignIn = Callable[[Page, User], None]
SHOTS = os.environ.get("CHAT_SHOTS")


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), caret="initial")


class Worker:
    """Answers the newest turn."""

    def __init__(self, author: Author) -> None:
        self.author = author

    def claim(self) -> None:
        turn = chat_answers.claim(Turn.objects.latest("pk").pk)
        assert turn is not None
        self.turn, self.offsets = turn, {"a": 0, "b": 0}

    def write(self, name: str, **data: object) -> None:
        async def write() -> None:
            async with chat_stream.connect() as client:
                await chat_stream.write(client, self.turn.stream, [chat_stream.NewEvent(name, data)])

        # the browser's loop runs in this thread
        thread = threading.Thread(target=lambda: asyncio.run(write()))
        thread.start()
        thread.join()

    def piece(self, side: str, text: str) -> None:
        self.write("piece", side=side, offset=self.offsets[side], text=text)
        self.offsets[side] += len(text)

    def end(self, first: str, second: str) -> None:
        answers = [Answer(self.author.pk, text, {}) for text in (first, second)]
        assert chat_answers.store(turn=self.turn, answers=answers, sides=[])
        self.write("end")

    def answer(self, first: str = "The moon.", second: str = "Whales.") -> None:
        self.claim()
        self.end(first, second)


@pytest.fixture
def bob(transactional_db: None) -> User:
    alice, bob = builders.user("alice", is_staff=True), builders.user("bob")
    project = builders.project(alice)
    builders.join(project, bob, Member.Role.ANNOTATOR)
    ChatSettings.objects.create(project=project, enabled=True)
    return bob


@pytest.fixture
def worker(bob: User) -> Worker:
    project = bob.memberships.get().project
    return Worker(Author.objects.create(project=project, kind=Author.Kind.POLICY, name="policy"))


def chats(bob: User) -> str:
    return reverse("chats", args=[bob.memberships.get().project.slug])


def start(page: Page, bob: User, text: str = "How do tides work?") -> None:
    page.goto(chats(bob))
    page.keyboard.press("Tab")
    page.get_by_label("Your first message").fill(text)
    page.keyboard.press("Enter")
    page.wait_for_url("**/chats/*/")


def streamed(page: Page, letter: str) -> str:
    return page.locator(f'.answer[data-letter="{letter}"] .streaming').inner_text()


def shows(page: Page, letter: str, text: str) -> None:
    expect(page.locator(f'.answer[data-letter="{letter}"]')).to_contain_text(text)


def test_three_turns_by_the_keyboard_alone(page: Page, bob: User, worker: Worker, sign_in: SignIn) -> None:
    sign_in(page, bob)
    start(page, bob)
    announcement = page.locator("#announcement")
    for turn in range(3):
        expect(announcement).to_have_text("Sent. Two models are answering.")
        worker.claim()
        worker.piece("a", "The moon pulls ")
        worker.piece("b", "Whales drink")
        shows(page, "A", "The moon pulls")
        shows(page, "B", "Whales drink")
        assert page.locator(".degree").count() == 0
        shot(page, f"streaming-{turn}")
        worker.end("The moon pulls **the water**.", "Whales drink it.")
        expect(announcement).to_contain_text("Both answers are complete")
        shot(page, f"judging-{turn}")
        page.wait_for_selector("[data-ready]")
        page.keyboard.press("2")
        expect(announcement).to_contain_text("Your turn")
        shot(page, f"composing-{turn}")
        if turn < 2:
            page.keyboard.type(f"And then? {turn}")
            page.keyboard.press("Enter")
    assert [judgment.degree for judgment in Judgment.objects.all()] == ["better"] * 3
    sent = [turn.text for turn in Turn.objects.order_by("pk")]
    assert sent == ["How do tides work?", "And then? 0", "And then? 1"]
    assert len(Turn.objects.latest("pk").prompt.messages) == 5
    page.goto(chats(bob))
    expect(page.locator("[data-composer]")).to_have_value("")


def test_a_double_enter_is_one_message(page: Page, bob: User, worker: Worker, sign_in: SignIn) -> None:
    sign_in(page, bob)
    page.goto(chats(bob))
    page.get_by_label("Your first message").fill("Once only")
    page.evaluate(
        """() => { const field = document.querySelector("[data-composer]");
            for (let n = 0; n < 2; n++)
                field.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true, cancelable: true})) }"""
    )
    page.wait_for_url("**/chats/*/")
    worker.answer()
    page.wait_for_selector("[data-ready]")
    page.keyboard.press("3")
    field = page.locator("[data-composer]")
    expect(field).to_be_focused()
    field.fill("Twice?")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_selector('[data-state="waiting"]')
    assert (Chat.objects.count(), Turn.objects.count(), Prompt.objects.filter(tags=["chat"]).count()) == (
        1,
        2,
        2,
    )


def test_refreshes_and_a_second_tab_see_the_same(
    page: Page, new_page: Callable[..., Page], bob: User, worker: Worker, sign_in: SignIn
) -> None:
    sign_in(page, bob)
    start(page, bob)
    worker.claim()
    worker.piece("a", "The moon pulls")
    for _ in range(10):
        page.reload()
    shows(page, "A", "The moon pulls")
    other = new_page()
    sign_in(other, bob)
    other.goto(page.url)
    shows(other, "A", "The moon pulls")
    worker.piece("a", " the water.")
    for window in (page, other):
        shows(window, "A", "The moon pulls the water.")
    worker.end("The moon pulls the water.", "Whales.")
    for window in (page, other):
        window.wait_for_selector("[data-ready]")
    page.keyboard.press("1")
    expect(page.locator("[data-composer]")).to_be_focused()
    other.keyboard.press("8")  # it was judged in the first tab
    expect(other.locator("#work")).to_contain_text("You have judged this item before")
    assert Judgment.objects.get().degree == "significantly"


def test_a_cache_that_is_flushed_loses_nothing(
    page: Page, bob: User, worker: Worker, sign_in: SignIn
) -> None:
    sign_in(page, bob)
    start(page, bob)
    worker.claim()
    worker.piece("a", "The moon")
    shows(page, "A", "The moon")
    Redis.from_url(CHAT_STREAM_URL).flushdb()
    worker.piece("a", " pulls")
    shows(page, "A", "The moon pulls")
    Redis.from_url(CHAT_STREAM_URL).flushdb()
    answers = [Answer(worker.author.pk, text, {}) for text in ("The moon pulls the water.", "Whales.")]
    assert chat_answers.store(turn=worker.turn, answers=answers, sides=[])  # and its last event is lost
    page.wait_for_selector("[data-ready]")
    shows(page, "A", "The moon pulls the water.")


def test_markup_and_control_signs_in_a_stream_are_text(
    page: Page, bob: User, worker: Worker, sign_in: SignIn
) -> None:
    sign_in(page, bob)
    start(page, bob)
    worker.claim()
    text = "<img src=x onerror=alert(1)> \u0007 \u202e </p><script>alert(2)</script>"
    worker.piece("a", text)
    shows(page, "A", "<img src=x onerror=alert(1)>")
    assert page.locator(".answer img, .answer script").count() == 0


def test_an_answer_that_begins_anew(page: Page, bob: User, worker: Worker, sign_in: SignIn) -> None:
    sign_in(page, bob)
    start(page, bob)
    worker.claim()
    worker.piece("a", "The moo")
    shows(page, "A", "The moo")
    worker.write("restart", side="a")
    worker.offsets["a"] = 0
    worker.piece("a", "Gravity.")
    expect(page.locator('.answer[data-letter="A"] .streaming')).to_have_text("Gravity.")


def test_a_message_that_cannot_be_answered(page: Page, bob: User, worker: Worker, sign_in: SignIn) -> None:
    sign_in(page, bob)
    start(page, bob)
    worker.claim()
    chat_answers.fail(turn=worker.turn, reason="The model server ended in the middle of a token.")
    worker.write("failed")
    expect(page.locator("#work")).to_contain_text("The models could not answer this message.")
    shot(page, "failed")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector('[data-state="waiting"]')
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator("[data-composer]")).to_have_value("How do tides work?")


def test_what_was_typed_survives_a_reload(page: Page, bob: User, worker: Worker, sign_in: SignIn) -> None:
    sign_in(page, bob)
    start(page, bob)
    worker.answer()
    page.wait_for_selector("[data-ready]")
    page.keyboard.press("3")
    page.locator("[data-composer]").fill("Half a thou")
    page.reload()
    expect(page.locator("[data-composer]")).to_have_value("Half a thou")


def test_without_scripts(new_page: Callable[..., Page], bob: User, worker: Worker, sign_in: SignIn) -> None:
    page = new_page(java_script_enabled=False)
    sign_in(page, bob)
    page.goto(chats(bob))
    page.get_by_label("Your first message").fill("How do tides work?")
    page.get_by_role("button", name="Start a chat").click()
    worker.answer()
    page.get_by_role("link", name="Show the answers").click()
    page.locator(".degree").nth(5).click()
    page.locator("[data-composer]").fill("And why?")
    page.get_by_role("button", name="Send").click()
    assert (Judgment.objects.get().degree, Turn.objects.count()) == ("slightly", 2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(
    new_page: Callable[..., Page], bob: User, worker: Worker, sign_in: SignIn, scheme: str
) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme)
    sign_in(page, bob)
    page.goto(chats(bob))
    shot(page, f"phone-list-{scheme}")
    page.get_by_label("Your first message").fill("How do tides work?")
    page.keyboard.press("Enter")  # begins a line there
    page.get_by_role("button", name="Start a chat").click()
    page.wait_for_url("**/chats/*/")
    worker.claim()
    worker.piece("a", "The moon pulls the water. " * 8)
    worker.piece("b", "Whales drink. " * 8)
    shows(page, "B", "Whales drink")
    shot(page, f"phone-streaming-{scheme}")
    worker.end("The moon pulls the water. " * 8, "Whales drink. " * 8)
    page.wait_for_selector("[data-ready]")
    shot(page, f"phone-judging-{scheme}")
    page.locator(".degree").first.click()
    page.wait_for_selector("[data-composer]")
    shot(page, f"phone-composing-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_text_typed_past_its_field_neither_judges_nor_gives_commands(
    page: Page, bob: User, worker: Worker, sign_in: SignIn
) -> None:
    sign_in(page, bob)
    start(page, bob)
    worker.claim()
    page.keyboard.type("In 1727, as ", delay=20)
    worker.end("The moon pulls the water.", "Whales.")
    page.wait_for_selector(".degree")
    page.keyboard.press("7")  # the answers are there, and nobody has read them
    page.keyboard.type("I was 17 ?gqw", delay=20)
    page.wait_for_selector("[data-ready]")
    page.keyboard.type("Hello, 7 whales", delay=20)
    assert page.locator("dialog[open]").count() == 0
    page.wait_for_timeout(800)  # longer than the pause after which a key is a command
    assert not Judgment.objects.exists()
    page.keyboard.press("2")
    expect(page.locator("[data-composer]")).to_be_focused()
    expect(page.locator(".toast")).to_contain_text("Saved: A is better")
    assert Judgment.objects.get().degree == "better"


def test_no_key_judges_while_an_edited_message_waits(
    page: Page, bob: User, worker: Worker, sign_in: SignIn
) -> None:
    sign_in(page, bob)
    start(page, bob)
    worker.answer()
    page.wait_for_selector("[data-ready]")
    page.keyboard.press("2")
    page.locator("[data-composer]").fill("And then?")
    page.keyboard.press("Enter")
    page.wait_for_selector('[data-state="waiting"]')
    worker.answer()
    page.wait_for_selector("[data-ready]")
    page.locator(".thread .edit summary").click()
    field = page.locator(".thread textarea")
    field.fill("How do tides work on Mars?")
    page.locator("#work h1").evaluate("(heading) => heading.focus()")
    page.wait_for_timeout(800)
    page.keyboard.press("7")
    expect(field).to_have_value("How do tides work on Mars?")
    assert Judgment.objects.count() == 1
    field.fill("How do tides work?")
    page.locator("#work h1").evaluate("(heading) => heading.focus()")
    page.wait_for_timeout(800)
    page.keyboard.press("7")
    expect(page.locator("[data-composer]")).to_be_focused()
    assert Judgment.objects.count() == 2
