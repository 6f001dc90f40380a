"""The client of chats against a real HTTP server whose bytes a test decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.processes import free_port
from training.chat_servers import client
from training.chat_servers.client import Delta, Endpoint, stream_chat
from training.chat_servers.errors import ChatServerError
from training.chat_servers.server_sent_events import EventParser

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
MESSAGES = [{"role": "user", "content": "nine"}]


class RawServer:
    """Answers each request with the packets that `answer` returns for its body, one write each; None in their place waits."""

    def __init__(self, answer: Callable[[dict[str, Any]], list[bytes | None]]) -> None:
        self.answer, self.requests = answer, []
        self.headers: list[str] = []
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.headers.append(head)
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        self.requests.append(json.loads(await reader.readexactly(length)))
        for packet in self.answer(self.requests[-1]):
            if packet is None:
                await reader.read()  # until the client has gone
                self.gone.set()
                break
            writer.write(packet)
            try:
                await writer.drain()
            except ConnectionError:
                break  # the client has gone
            await asyncio.sleep(0)  # packets of their own, as far as that is in the hand of a sender
        writer.close()


@asynccontextmanager
async def serving(answer: Any) -> AsyncIterator[tuple[RawServer, Endpoint]]:
    """A server, and where it is. answer: the packets, or a function from the request to them."""
    raw = RawServer(answer if callable(answer) else lambda _: answer)
    async with await asyncio.start_server(raw.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield raw, Endpoint(f"http://127.0.0.1:{port}/v1", "policy")


async def deltas(endpoint: Endpoint, timeout_s: float = 60) -> list[Delta]:
    options = {"temperature": 1.0, "max_new_tokens": 20, "seed": 5, "timeout_s": timeout_s}
    return [delta async for delta in stream_chat(endpoint, MESSAGES, **options)]


async def text_of(packets: list[bytes | None]) -> str:
    async with serving(packets) as (_, endpoint):
        return "".join(delta.text for delta in await deltas(endpoint))


async def error_of(answer: Any, timeout_s: float = 60) -> ChatServerError:
    async with serving(answer) as (_, endpoint):
        with pytest.raises(ChatServerError) as caught:
            await deltas(endpoint, timeout_s)
    return caught.value


def event(text: str | None = None, reason: str | None = None, **more: Any) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return (
        b"data: "
        + json.dumps({"choices": [choice], **more}, ensure_ascii=not (text or "").isprintable()).encode()
        + b"\n\n"
    )


DONE = b"data: [DONE]\n\n"
STOP = event(reason="stop")


async def test_pieces_come_one_by_one_and_the_end_with_the_numbers_of_tokens():
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
    packets = [
        HEAD,
        event("at "),
        event("nine"),
        STOP,
        b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n",
        DONE,
    ]
    async with serving(packets) as (raw, endpoint):
        assert await deltas(endpoint) == [Delta("at "), Delta("nine"), Delta("", "stop", 7, 3, 2)]
    assert raw.requests == [
        {
            "model": "policy", "messages": MESSAGES, "temperature": 1.0, "max_tokens": 20, "stream": True,
            "top_k": 0, "top_p": 1.0, "seed": 5, "stream_options": {"include_usage": True},
        }
    ]  # fmt: skip
    assert raw.headers[0].startswith("POST /v1/chat/completions ")
    assert "authorization" not in raw.headers[0].lower()


async def test_the_key_is_sent():
    async with serving([HEAD, STOP, DONE]) as (raw, endpoint):
        await deltas(endpoint._replace(key="secret"))
    assert "authorization: bearer secret" in raw.headers[0].lower()


async def test_every_way_to_write_events_is_read():
    text = "naïve — 你好"
    written = (
        b": ping\r\n\r\n"
        + event(text).replace(b"\n", b"\r\n")
        + b"event: x\nid: 5\n"
        + event(" a")
        + b"data:"
        + event("b")[6:]
    )
    written += event("c").replace(b"\n", b"\r") + STOP + b"data:[DONE]\n\n"
    assert (
        await text_of([HEAD, *(written[place : place + 1] for place in range(len(written)))]) == text + " abc"
    )


async def test_a_stream_may_end_without_done_or_a_last_empty_line():
    assert await text_of([HEAD, event("nine"), STOP.rstrip()]) == "nine"


async def test_what_follows_done_is_not_read():
    assert await text_of([HEAD, event("nine"), STOP, DONE + event("ten")]) == "nine"


async def test_a_server_that_does_not_stream_is_read_too():
    choice = {"message": {"role": "assistant", "content": "at nine"}, "finish_reason": "length"}
    body = json.dumps({"choices": [choice], "usage": {"completion_tokens": 2}}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving([head, body[:10], body[10:]]) as (_, endpoint):
        assert await deltas(endpoint) == [Delta("at nine", "length", completion_tokens=2)]


async def test_texts_can_be_stored():
    assert await text_of(
        [
            HEAD,
            event("a\0b"),
            event("\ud83d"),
            event("\ude00"),
            event("\ude00x"),
            event("y\ud83d"),
            STOP,
            DONE,
        ]
    ) == ("a\N{REPLACEMENT CHARACTER}b\N{GRINNING FACE}\N{REPLACEMENT CHARACTER}xy\N{REPLACEMENT CHARACTER}")


async def test_a_refused_field_is_left_out():
    def answer(request: dict[str, Any]) -> list[bytes]:
        for name in ("top_k", "stream_options", "seed"):
            if name in request:
                return [refusal(400, f"Unknown field: '{name}'.")]
        if "max_tokens" in request:
            return [refusal(400, "Use 'max_completion_tokens' instead.")]
        return [HEAD, event("nine"), STOP, DONE]

    async with serving(answer) as (raw, endpoint):
        assert "".join(delta.text for delta in await deltas(endpoint)) == "nine"
    assert raw.requests[-1] == {
        "model": "policy", "messages": MESSAGES, "temperature": 1.0, "max_completion_tokens": 20, "stream": True, "top_p": 1.0
    }  # fmt: skip


async def test_a_limit_that_no_answer_can_have_is_left_to_the_server():
    """As vLLM refuses it."""

    def answer(request: dict[str, Any]) -> list[bytes]:
        if "max_tokens" in request:
            return [
                refusal(400, "max_tokens=20 cannot be greater than max_model_len=10. Please request fewer.")
            ]
        return [HEAD, event("nine"), STOP, DONE]

    async with serving(answer) as (raw, endpoint):
        assert "".join(delta.text for delta in await deltas(endpoint)) == "nine"
    assert len(raw.requests) == 2


def refusal(status: int, message: str) -> bytes:
    body = json.dumps({"error": {"message": message}}).encode()
    return b"HTTP/1.1 %d No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body


@pytest.mark.parametrize(
    ("packets", "words", "is_retriable"),
    [
        ([refusal(429, "Later.")], "answers 429: Later.", True),
        ([refusal(500, "Broken.")], "answers 500: Broken.", True),
        ([refusal(400, "No such thing.")], "answers 400: No such thing.", False),
        ([refusal(401, "Who?")], "PALATE_API_KEY", False),
        ([refusal(404, "Not Found")], "a base URL usually ends in /v1", False),
        ([refusal(404, "The model 'policy' does not exist.")], "The model 'policy' does not exist", False),
        ([refusal(400, "The maximum context length is 5.")], "too long for the model", False),
        ([HEAD, event("at "), DONE], "without saying why", True),
        ([HEAD, event("at ")], "without saying why", True),
        ([HEAD], "something else than an answer: nothing", False),
        ([HEAD, b'data: {"error": {"message": "It ends.", "code": 503}}\n\n'], "ended the answer: It ends.", True),
        ([HEAD, event("at "), b'data: {"error": {"message": "Bad.", "code": 400}}\n\n'], "ended the answer: Bad.", False),
        ([HEAD, b'data: {"object": "error", "message": "Old.", "code": 40303}\n\n'], "Old.", True),
        ([HEAD, b"data: <html>\n\n"], "something else than an answer: <html>", False),
        ([HEAD, b"data: []\n\n"], "something else than an answer", False),
        ([HEAD, b'data: {"choices": [5]}\n\n'], "a choice without a text", False),
        ([HEAD, b'data: {"choices": [{"delta": {"content": 5}}]}\n\n'], "a choice without a text", False),
        ([HEAD, b"<html>hello</html>"], "without saying why", True),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", event("at ")], "broke off", True),
        ([b"nonsense\r\n\r\n"], "broke off", True),
        ([HEAD, b"data: " + b"x" * (client.MAX_LINE_BYTES + 10)], "more than 1 MiB", False),
        ([HEAD, b"{" + b"x" * client.MAX_ANSWER_BYTES], "more than 16 MiB", False),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(packets: list[bytes | None], words: str, is_retriable: bool):
    error = await error_of(packets)
    assert words in error.sentence
    assert error.retriable is is_retriable
    assert error.sentence.startswith(("The server http://127.0.0.1:", "The conversation"))


async def test_a_silent_server_is_not_waited_for():
    error = await error_of([HEAD, event("at "), None], timeout_s=0.5)
    assert error.retriable
    assert "sent nothing for 0.5 seconds" in error.sentence


async def test_nobody_there():
    with pytest.raises(ChatServerError, match="cannot be reached") as caught:
        await deltas(Endpoint(f"http://127.0.0.1:{free_port()}/v1", "policy"))
    assert caught.value.retriable


async def test_no_address():
    with pytest.raises(ChatServerError, match="cannot be reached") as caught:
        await deltas(Endpoint("nonsense", "policy"))
    assert not caught.value.retriable


async def test_closing_the_stream_closes_the_connection():
    async with serving([HEAD, event("at "), None]) as (raw, endpoint):
        stream = stream_chat(endpoint, MESSAGES, temperature=1.0, max_new_tokens=5, seed=1, timeout_s=60)
        async with aclosing(stream):
            assert await anext(stream) == Delta("at ")
        await asyncio.wait_for(raw.gone.wait(), 60)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 60), max_size=8),
)
@example(["a\nb"], "\r\n", [8])  # between the two signs of a line's end
def test_events_are_the_same_however_they_are_split(texts: list[str], line_end: str, cuts: list[int]):
    lines = ["".join(f"data: {line}\n" for line in text.split("\n")) + "\n" for text in texts]
    written = "".join(lines).replace("\n", line_end).encode()
    parser, found = EventParser(), []
    for start, end in pairwise(sorted({0, *cuts, len(written)})):
        if packet := written[start:end]:
            found += parser.feed(packet)
    assert found + parser.feed(b"") == texts
