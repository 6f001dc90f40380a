"""Chats by the client, against a real server; the test stands in for the worker that answers."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import TransactionTestCase
from palate_client import AsyncPalate, Judgment, Palate, PalateError

from annotation import chat_stream
from annotation.actions import chat_answers
from annotation.models import ApiToken, Chat, Member, Turn
from annotation.models import Judgment as Stored
from tests import builders, live_chats
from tests.patience import HANGS_S
from tests.processes import free_port, process, until

ROOT = Path(__file__).resolve().parents[3]
SLUG = "helpfulness"


@pytest.mark.live
def answered(turn: dict[str, Any]) -> None:
    live_chats.answer(Turn.objects.select_related("chat__project").get(pk=turn["id"]))


class ChatClientTests(TransactionTestCase):
    def test_chats_by_the_client(self) -> None:
        self.alice, self.bob = builders.user("alice", is_staff=True), builders.user("bob")
        self.project = builders.project(self.alice)
        builders.join(self.project, self.bob, Member.Role.ANNOTATOR)
        live_chats.enable(self.project)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        lead = ApiToken.issue(user=self.alice, name="t", scope="lead")[1]
        self.token = ApiToken.issue(user=self.bob, name="t", scope="annotate")[1]
        with process("web", port=port), Palate(self.url, self.token) as mine, Palate(self.url, lead) as all:
            until(lambda: answers(mine), "the site to answer")
            turn = self.a_chat(mine)
            self.branches_and_ends(mine, turn)
            self.failures(mine)
            self.pieces(mine)
            self.awaited()
            self.example_of_the_docs()
            self.lists(mine, all)

    def a_chat(self, palate: Palate) -> dict[str, Any]:
        turn = palate.start_chat(SLUG, "How do tides work?")
        with ThreadPoolExecutor(1) as pool:
            waited = pool.submit(palate.wait_for_answers, SLUG, turn, every_s=0.05)
            live_chats.answer(Turn.objects.get(pk=turn["id"]))
            turn = waited.result(60)
        assert [answer["text"] for answer in turn["answers"]] == ["The moon.", "Whales."]
        stored = palate.judge_turn(
            SLUG, turn, Judgment(ranks={"A": 2, "B": 1}, degree="slightly", rationale="Longer.")
        )
        assert (stored["degree"], stored["rationale"]) == ("slightly", "Longer.")
        assert palate.turn(SLUG, turn["chat"], turn["id"])["goes_on"] == "Whales."
        assert palate.write_answer(SLUG, turn, "The moon and the sun.")["text"] == "The moon and the sun."
        following = palate.send_message(SLUG, turn["chat"], "And why?", after=turn)
        prompt = Turn.objects.get(pk=following["id"]).prompt
        assert [message["content"] for message in prompt.messages] == [
            "How do tides work?",
            "The moon and the sun.",
            "And why?",
        ]
        return following

    def branches_and_ends(self, palate: Palate, turn: dict[str, Any]) -> None:
        assert palate.drop_message(SLUG, turn)["state"] == "dropped"
        branch = palate.send_message(SLUG, turn["chat"], "What are tides?")
        assert (branch["after"], branch["number"]) == (None, 1)
        ended = palate.end_chat(SLUG, turn["chat"])
        assert [row["state"] for row in ended["turns"]] == ["judged", "dropped", "dropped"]
        assert palate.chat(SLUG, turn["chat"]) == ended
        with pytest.raises(PalateError, match="has ended") as refused:
            palate.send_message(SLUG, turn["chat"], "Still there?")
        assert refused.value.status == 400

    def failures(self, palate: Palate) -> None:
        turn = palate.start_chat(SLUG, "Will it fail?")
        claimed = chat_answers.claim(turn["id"])
        assert claimed is not None
        chat_answers.fail(turn=claimed, reason="The server is gone.")
        with pytest.raises(PalateError, match="The models could not answer"):
            palate.wait_for_answers(SLUG, turn)
        assert palate.retry_message(SLUG, turn)["state"] == "waiting"

    def pieces(self, palate: Palate) -> None:
        turn = palate.start_chat(SLUG, "Piece by piece?")
        written(turn, ("piece", {"side": "a", "offset": 0, "text": "one\u2028\nzwö"}))
        with ThreadPoolExecutor(1) as pool:
            read = pool.submit(list, palate.stream_answers(SLUG, turn))
            answered(turn)
            written(turn, ("piece", {"side": "b", "offset": 0, "text": "two"}), ("end", {}))
            events = read.result(60)
        assert events == [
            {"event": "piece", "side": "a", "offset": 0, "text": "one\u2028\nzwö"},
            {"event": "piece", "side": "b", "offset": 0, "text": "two"},
            {"event": "end"},
        ]
        with pytest.raises(PalateError) as refused:
            list(palate.stream_answers(SLUG, turn | {"id": 999_999}))
        assert refused.value.status == 404

    def awaited(self) -> None:
        async def chat() -> list[str]:
            async with AsyncPalate(self.url, self.token) as palate:
                turn = await palate.start_chat(SLUG, "Awaited?")
                await asyncio.to_thread(answered, turn)
                await asyncio.to_thread(written, turn, ("end", {}))
                return [event["event"] async for event in palate.stream_answers(SLUG, turn)]

        assert asyncio.run(chat()) == ["end"]

    def example_of_the_docs(self) -> None:
        (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "chat.md").read_text(), re.DOTALL)
        environment = os.environ | {
            "PALATE_URL": self.url,
            "PALATE_TOKEN": self.token,
            "PYTHONPATH": str(ROOT / "client"),
        }
        script = subprocess.Popen(
            [sys.executable, "-c", block], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        sent = Turn.objects.filter(prompt__messages__0__content="Why are there two tides a day?")
        until(sent.exists, "the script to send its message")
        turn = {"id": live_chats.answer(sent.get()).pk}
        written(turn, ("piece", {"side": "a", "offset": 0, "text": "The moon."}), ("end", {}))
        said, problems = script.communicate(timeout=HANGS_S)
        assert (script.returncode, said) == (0, b"a The moon.\n"), problems.decode()
        following = Turn.objects.get(parent=turn["id"])
        assert following.prompt.messages[1]["content"] == "The earth turns under two bulges of water."

    def lists(self, mine: Palate, all: Palate) -> None:
        assert [row["id"] for row in mine.chats(SLUG)] == list(
            Chat.objects.order_by("-pk").values_list("pk", flat=True)
        )
        rows = all.all_chats(SLUG)
        assert {row["annotator"] for row in rows} == {"bob"}
        assert (rows[-1]["judged"], rows[-1]["dropped"], rows[-1]["written"]) == (1, 2, 1)
        with pytest.raises(PalateError) as refused:
            mine.all_chats(SLUG)
        assert refused.value.status == 403
        assert Stored.objects.count() == 4


class BrokenStream(BaseHTTPRequestHandler):
    """Ends each stream after one event, and answers what follows the event that a client names."""

    asked: list[str] = []

    def do_GET(self) -> None:
        last = self.headers.get("Last-Event-ID", "0-0")
        self.asked.append(last)
        number = int(last.split("-")[0]) + 1
        name, data = ("end", {}) if number == 3 else ("piece", {"side": "a", "offset": number, "text": "x"})
        event = f": ping\n\nid: {number}-0\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()
        self.send_response(200)
        self.send_header(
            "Content-Length", str(len(event) + 10)
        )  # the connection breaks before it is complete
        self.end_headers()
        self.wfile.write(event)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_stream_goes_on_after_a_broken_connection() -> None:
    BrokenStream.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), BrokenStream) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Palate(f"http://127.0.0.1:{server.server_port}", "palate_x") as palate:
            events = list(palate.stream_answers(SLUG, {"chat": 1, "id": 2}))
        server.shutdown()
    assert [event["event"] for event in events] == ["piece", "piece", "end"]
    assert BrokenStream.asked == ["0-0", "1-0", "2-0"]


def answers(palate: Palate) -> bool:
    try:
        return bool(palate.projects())
    except (PalateError, http.client.HTTPException):
        return False


def written(turn: dict[str, Any], *events: tuple[str, dict[str, Any]]) -> None:
    async def write() -> None:
        async with chat_stream.connect() as client:
            for name, data in events:
                await chat_stream.write(
                    client, Turn(pk=turn["id"]).stream, [chat_stream.NewEvent(name, data)]
                )

    async_to_sync(write)()
