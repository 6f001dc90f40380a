"""The playground before a real browser. The test answers in place of the worker."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

from django.urls import reverse
from playwright.sync_api import Page, expect

from annotation import chat_stream
from annotation.models import Item, User
from tests import builders
from training.chats import playground
from training.chats.playground import Question
from training.registry.actions import add_model

SignIn = Callable[[Page, User], None]
SHOTS = os.environ.get("CHAT_SHOTS")


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), caret="initial")


def question_of(page: Page) -> Question:
    question = playground.find(page.url.rpartition("=")[2])
    assert question is not None
    return question


def write(question: Question, name: str, **data: object) -> None:
    async def write() -> None:
        async with chat_stream.connect() as client:
            await chat_stream.write(client, question.stream, [chat_stream.NewEvent(name, data)])

    # the browser's loop runs in this thread
    thread = threading.Thread(target=lambda: asyncio.run(write()))
    thread.start()
    thread.join()


def test_a_conversation_with_two_models(page: Page, sign_in: SignIn, transactional_db: None) -> None:
    alice = builders.user("alice", is_staff=True)
    project = builders.project(alice)
    for name in ("small", "large"):
        add_model(project=project, kind="policy", name=name, location=f"hub:x/{name}@main")
    sign_in(page, alice)
    page.goto(reverse("playground", args=[project.slug]))
    page.get_by_label("Message").fill("Who are you?")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**question=*")
    question = question_of(page)
    answers = page.locator("#answers")
    write(question, "piece", side="a", offset=0, text="I am <b>GPT-4</b>")
    expect(answers).to_contain_text("I am <b>GPT-4</b>")  # nothing is blind here, and nothing is markup
    write(question, "piece", side="b", offset=0, text="Nobody")
    expect(answers).to_contain_text("Nobody")
    shot(page, "playground-streaming")
    playground.keep(question._replace(texts=("I am **GPT-4**.", "Nobody.")))
    write(question, "end")
    expect(answers.locator("strong")).to_have_text("GPT-4")
    shot(page, "playground")
    page.get_by_role("button", name="Send to the queue").click()
    expect(page.locator("#toasts")).to_contain_text("is in the queue")
    assert Item.objects.get().prompt.messages == [{"role": "user", "content": "Who are you?"}]
    page.get_by_label("B ·").check()
    page.get_by_label("Next message").fill("And now?")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".thread")).to_contain_text("And now?")
    assert [message["content"] for message in question_of(page).messages] == [
        "Who are you?",
        "Nobody.",
        "And now?",
    ]
