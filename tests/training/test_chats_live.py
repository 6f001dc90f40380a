"""Chats with the real worker and real models, each served by a program of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from redis import Redis

from annotation import chat_stream
from annotation.actions import chats
from annotation.models import Chat, ChatSettings, Member, Response, Turn
from config.settings import CHAT_STREAM_URL
from tests import builders
from tests.chat_models import kill_servers, long_policy, server_pids
from tests.processes import kill, process, until
from training.models import ModelVersion
from training.registry.actions import add_model, promote

pytestmark = [pytest.mark.live, pytest.mark.slow(60), pytest.mark.django_db(transaction=True)]
State = Turn.State


@pytest.fixture
def policy(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return long_policy(tiny_policy, tmp_path_factory.mktemp("long") / "model")


@pytest.fixture
def bob(policy: Path) -> Iterator[Member]:
    alice, bob = builders.user("alice", is_staff=True), builders.user("bob")
    project = builders.project(alice)
    member = builders.join(project, bob, Member.Role.ANNOTATOR)
    version = add_model(project=project, kind="policy", name="policy", location=f"file:{policy}")
    promote(version, alice)
    ChatSettings.objects.create(project=project, enabled=True, max_new_tokens=60)
    yield Member.objects.select_related("project", "user").get(pk=member.pk)
    kill_servers()


def turn_in(turn: Turn, *states: str) -> Turn:
    until(lambda: Turn.objects.filter(pk=turn.pk, state__in=states).exists(), f"the turn is {states}")
    return Turn.objects.select_related("chat__project", "prompt").get(pk=turn.pk)


def has_begun(turn: Turn) -> bool:
    async def read() -> list[chat_stream.Event]:
        async with chat_stream.connect() as client:
            return await chat_stream.read(client, turn.stream, chat_stream.FIRST)

    return any(event.name == "piece" for event in asyncio.run(read()))


def shown(turn: Turn) -> dict[str, str]:
    """What a page that reads along shows in the end."""

    async def read() -> dict[str, str]:
        texts = {"a": "", "b": ""}
        async with chat_stream.connect() as client:
            for event in await chat_stream.read(client, turn.stream, chat_stream.FIRST):
                if event.name == "restart":
                    texts[event.data["side"]] = ""
                elif event.name == "piece":
                    assert len(texts[event.data["side"]]) == event.data["offset"]
                    texts[event.data["side"]] += event.data["text"]
        return texts

    return asyncio.run(read())


def judge(turn: Turn) -> None:
    lease = chats.lease_of(turn)
    assert lease is not None
    ranks = dict(zip(lease.shown_order, (1, 2), strict=True))
    chats.judge(turn=turn, lease=lease, ranks=ranks, degree="slightly", idempotency_key=uuid.uuid4())


def test_a_chat_of_two_turns(bob: Member, warm_core: dict[str, str]) -> None:
    with process("chat", **warm_core):
        first = chats.start_chat(member=bob, text="the ferry", key=uuid.uuid4())
        first = turn_in(first, State.JUDGING)
        assert first.item is not None
        order = first.item.slots.get().shown_order
        responses = Response.objects.in_bulk(order or [])
        assert [responses[pk].text for pk in order or []] == list(shown(first).values())
        assert sorted(side["temperature"] for side in first.sides) == [0.7, 1.0]
        judge(first)
        first.refresh_from_db()
        second = chats.send(chat=first.chat, member=bob, text="and the sea", key=uuid.uuid4(), after=first)
        second = turn_in(second, State.JUDGING)
        assert len(second.prompt.messages) == 3
    assert len(server_pids()) == 1  # one policy, at two temperatures


def test_a_model_server_that_is_killed_in_the_middle(bob: Member, warm_core: dict[str, str]) -> None:
    ChatSettings.objects.update(max_new_tokens=1500)
    with process("chat", **warm_core):
        turn = chats.start_chat(member=bob, text="the ferry", key=uuid.uuid4())
        until(lambda: has_begun(turn), "the answers come")
        kill_servers()
        ChatSettings.objects.update(max_new_tokens=60)
        turn = turn_in(turn, State.JUDGING, State.FAILED)
        if turn.state == State.FAILED:  # both attempts of a side met the dead server
            assert "broke off" in turn.error or "cannot be reached" in turn.error
            chats.retry(turn=turn, member=bob)
            turn_in(turn, State.JUDGING)
    assert Turn.objects.count() == Chat.objects.count() == 1


def test_a_worker_that_is_killed_in_the_middle(bob: Member, warm_core: dict[str, str]) -> None:
    ChatSettings.objects.update(max_new_tokens=1500)
    with process("chat", **warm_core) as worker:
        turn = chats.start_chat(member=bob, text="the ferry", key=uuid.uuid4())
        until(lambda: has_begun(turn), "the answers come")
        kill(worker)
    Redis.from_url(CHAT_STREAM_URL).flushdb()
    ChatSettings.objects.update(max_new_tokens=40)
    with process("chat", **warm_core), process("worker"):  # the sweep finds it
        turn = turn_in(turn, State.JUDGING)
    assert turn.attempts == 2
    judge(turn)


def test_a_turn_that_is_taken_back_while_it_is_answered(bob: Member, warm_core: dict[str, str]) -> None:
    ChatSettings.objects.update(max_new_tokens=1500)
    with process("chat", **warm_core):
        turn = chats.start_chat(member=bob, text="the ferry", key=uuid.uuid4())
        until(lambda: has_begun(turn), "the answers come")
        chats.drop(turn=turn)
        again = chats.send(chat=turn.chat, member=bob, text="the sea", key=uuid.uuid4())
        ChatSettings.objects.update(max_new_tokens=40)
        turn_in(again, State.JUDGING, State.ANSWERING)
    turn.refresh_from_db()
    assert (turn.state, turn.item) == (State.DROPPED, None)


def test_a_model_that_is_gone_says_so(bob: Member, warm_core: dict[str, str]) -> None:
    ModelVersion.objects.update(location="file:/no/such/folder")
    with process("chat", **warm_core):
        turn = chats.start_chat(member=bob, text="the ferry", key=uuid.uuid4())
        turn = turn_in(turn, State.FAILED)
    assert "There is no folder file:/no/such/folder" in turn.error
    assert turn.text == "the ferry"
    assert settings.CHATS_AT_ONCE
