"""A web process with many more open streams of answers than threads and database connections."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.core.cache import cache
from django.urls import reverse

from annotation import chat_stream
from annotation.logic.limits import MAX_ANSWER_STREAMS
from annotation.models import Judgment, Member, Turn
from tests import builders, live_chats
from tests.patience import HANGS_S
from tests.processes import free_port, process, until
from tests.site_client import SiteClient

pytestmark = [pytest.mark.live, pytest.mark.slow(20), pytest.mark.django_db(transaction=True)]
NAMES = ("bob", "carol", "dave")


def write(turn: Turn, name: str, **data: object) -> None:
    async def write() -> None:
        async with chat_stream.connect() as client:
            await chat_stream.write(client, turn.stream, [chat_stream.NewEvent(name, data)])

    asyncio.run(write())


def test_a_ranking_page_is_served_and_each_stream_goes_on() -> None:
    cache.clear()
    project = builders.project(builders.user("alice"))
    live_chats.enable(project)
    builders.items(project, 2)
    people = [builders.user(name) for name in NAMES]
    for person in people:
        builders.join(project, person, Member.Role.ANNOTATOR)
    turns = {person.username: live_chats.send(project, person) for person in people}
    port = free_port()
    with process("web", port=port, WORK_THREADS="1", DATABASE_POOL="2") as web, ExitStack() as stack:
        until(SiteClient(f"http://127.0.0.1:{port}").is_up, "the web process answers")
        clients = {name: SiteClient(f"http://127.0.0.1:{port}") for name in NAMES}
        for name, client in clients.items():
            client.sign_in(name)
        streams = []
        for name, turn in turns.items():
            path = reverse("turn-stream", args=[project.slug, turn.chat_id, turn.pk])
            for _ in range(MAX_ANSWER_STREAMS):
                response = stack.enter_context(clients[name].get(path, stream=True, timeout=HANGS_S))
                lines = response.iter_lines(chunk_size=1)
                assert next(lines).startswith(b"retry")
                streams.append((name, lines))
        assert clients["bob"].judge() is not None
        assert Judgment.objects.count() == 1
        threads = len(list(Path(f"/proc/{web.pid}/task").iterdir()))
        assert threads < len(streams), threads
        for name, turn in turns.items():
            write(turn, "piece", side="a", offset=0, text=name)
        for name, lines in streams:
            data = next(line for line in lines if line.startswith(b"data: "))
            assert json.loads(data.removeprefix(b"data: "))["text"] == name
