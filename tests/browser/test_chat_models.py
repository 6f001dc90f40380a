"""Two people chat in browsers of their own with real models, while everything around them fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect
from redis import Redis

from annotation.models import Chat, ChatSettings, Judgment, Member, Prompt, Slot, Turn, User
from config.settings import CHAT_STREAM_URL
from tests import builders
from tests.chat_models import kill_servers, long_policy
from tests.processes import process
from tests.training.conftest import tiny_policy, warm_core, without_django  # noqa: F401 - fixtures
from training.registry.actions import add_model, promote

pytestmark = [pytest.mark.live, pytest.mark.slow(60)]
SignIn = Callable[[Page, User], None]


@pytest.fixture
def people(
    tiny_policy: Path,  # noqa: F811
    tmp_path: Path,
    transactional_db: None,
) -> Iterator[list[User]]:
    """Two annotators of a project whose policy writes long answers."""
    lead, *people = (builders.user(name, is_staff=name == "alice") for name in ("alice", "bob", "carol"))
    project = builders.project(lead)
    for person in people:
        builders.join(project, person, Member.Role.ANNOTATOR)
    location = f"file:{long_policy(tiny_policy, tmp_path / 'model')}"
    promote(add_model(project=project, kind="policy", name="policy", location=location), lead)
    ChatSettings.objects.create(project=project, enabled=True, max_new_tokens=1500)
    yield people
    kill_servers()


def start(page: Page, person: User, text: str) -> None:
    page.goto(reverse("chats", args=[person.memberships.get().project.slug]))
    page.get_by_label("Your first message").fill(text)
    page.keyboard.press("Enter")
    page.wait_for_url("**/chats/*/")


def await_answers(page: Page) -> None:
    """Until they can be judged; what could not be answered is tried again."""
    ready, retry = page.locator("[data-ready]"), page.locator("#retry")
    while True:
        expect(ready.or_(retry)).to_be_visible()
        if ready.is_visible():
            return
        retry.click()
        page.wait_for_selector('[data-state="waiting"], [data-state="answering"], [data-ready]')


def test_nothing_is_lost_or_doubled(
    page: Page,
    new_page: Callable[..., Page],
    people: list[User],
    sign_in: SignIn,
    warm_core: dict[str, str],  # noqa: F811
) -> None:
    windows = [page, new_page()]
    with process("chat", **warm_core), process("worker"):
        for window, person in zip(windows, people, strict=True):
            sign_in(window, person)
            start(window, person, f"The ferry, asks {person.username}")
        for window in windows:
            expect(window.locator('[data-letter="A"] .streaming')).not_to_be_empty()
        kill_servers()
        ChatSettings.objects.update(max_new_tokens=60)
        Redis.from_url(CHAT_STREAM_URL).flushdb()
        for _ in range(10):
            for window in windows:
                window.reload()
        second_tab = page.context.new_page()
        second_tab.goto(page.url)
        for window in (*windows, second_tab):
            await_answers(window)
        for window in windows:
            window.keyboard.press("2")
            expect(window.locator("[data-composer]")).to_be_focused()
        second_tab.keyboard.press("7")
        expect(second_tab.locator("#work")).to_contain_text("You have judged this item before")
        page.keyboard.type("And the sea?")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        await_answers(page)
        page.keyboard.press("7")
        expect(page.locator("[data-composer]")).to_be_focused()
    assert Chat.objects.count() == 2
    sent = [(turn.chat.annotator.username, turn.text, turn.state) for turn in Turn.objects.order_by("pk")]
    assert sorted(sent[:2]) == [
        (person.username, f"The ferry, asks {person.username}", "judged") for person in people
    ]
    assert sent[2:] == [("bob", "And the sea?", "judged")]
    assert (
        Prompt.objects.filter(tags=["chat"]).count()
        == Slot.objects.filter(state=Slot.State.DONE).count()
        == 3
    )
    assert sorted(Judgment.objects.values_list("annotator__username", flat=True)) == ["bob", "bob", "carol"]
