"""What the model server refuses, and how; one server for all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.patience import HANGS_S
from tests.processes import free_port, until
from tests.training.core.in_process import Recorded
from tests.training.core.model_server import ModelServer, model_server, start
from training.configs import GenerateConfig
from training.core.chat_client import Completion, complete_prompts
from training.core.data import Prompt
from training.core.serve.app import MAX_BODY_BYTES

pytestmark = [pytest.mark.live, pytest.mark.slow(20)]

USER = {"role": "user", "content": "nine"}


@pytest.fixture(scope="module")
def server(source: Path, without_django: dict[str, str], warm_core: dict[str, str]) -> Iterator[ModelServer]:
    with model_server(
        source, without_django | warm_core, "--max-new-tokens", "100", "--name", "tiny"
    ) as server:
        server.name = "tiny"
        yield server


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "tiny", "messages": [USER], "max_tokens": 3} | fields).encode()


REFUSED: dict[str, tuple[bytes, int, str | None, str]] = {
    "not JSON": (b'{"model": ', 400, None, "The body is not JSON."),
    "not UTF-8": (b'{"model": "\xff"}', 400, None, "The body is not JSON."),
    "nested deeply": (b"[" * 100_000, 400, None, "The body is not JSON."),
    "a list": (b"[]", 400, None, "must be a JSON object"),
    "no model": (body(model=None), 400, "model", "'model' must be the name"),
    "another model": (body(model="other"), 404, "model", "no model 'other' here; this server has 'tiny'"),
    "no messages": (body(messages=None), 400, "messages", "list of at least one message"),
    "empty messages": (body(messages=[]), 400, "messages", "list of at least one message"),
    "an unknown role": (body(messages=[USER | {"role": "developer"}]), 400, "messages", "needs a role of system"),
    "the assistant's turn": (body(messages=[USER, {"role": "assistant", "content": "x"}]), 400, "messages", "The last of"),
    "no text": (body(messages=[{"role": "user", "content": 5}]), 400, "messages", "text as its content"),
    "NUL": (body(messages=[USER, USER | {"content": "a\0b"}]), 400, "messages", "Message 2 of 'messages' has a NUL"),
    "half a surrogate pair": (
        b'{"model":"tiny","messages":[{"role":"user","content":"\\ud83d"}]}', 400, "messages", "surrogate",
    ),
    "too hot": (body(temperature=11), 400, "temperature", "'temperature' must be a number from 0 to 10"),
    "NaN": (body(temperature=float("nan")), 400, "temperature", "'temperature'"),
    "a flag for a number": (body(temperature=True), 400, "temperature", "'temperature'"),
    "a huge integer": (body(temperature=10**400), 400, "temperature", "'temperature'"),
    "no share": (body(top_p=0), 400, "top_p", "'top_p' must be a number above 0"),
    "no tokens": (body(max_tokens=0), 400, "max_tokens", "'max_tokens' must be an integer from 1"),
    "half a token": (body(max_tokens=1.5), 400, "max_tokens", "'max_tokens'"),
    "more than the server gives": (body(max_tokens=101), 400, "max_tokens", "'max_tokens' may be 100 at most"),
    "the same by its new name": (
        body(max_tokens=None, max_completion_tokens=101), 400, "max_completion_tokens", "may be 100 at most",
    ),
    "a negative seed": (body(seed=-1), 400, "seed", "'seed'"),
    "a text for a flag": (body(stream="yes"), 400, "stream", "'stream' must be true or false"),
    "options that are none": (body(stream_options=[]), 400, "stream_options", "'stream_options'"),
    "several answers": (body(n=2), 400, "n", "'n' is not supported"),
    "stops": (body(stop=["x"]), 400, "stop", "'stop' is not supported"),
    "an unknown field": (body(beam_width=2), 400, "beam_width", "'beam_width' is not supported"),
    "a long conversation": (
        body(messages=[USER | {"content": "nine " * 200}]), 400, "messages", "context length is 128 tokens",
    ),
    "no room for the answer": (body(messages=[USER | {"content": "nine " * 30}], max_tokens=99), 400, "messages", "length"),
    "a large body": (b" " * (MAX_BODY_BYTES + 1), 413, None, "more than 4 MiB"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(name: str, server: ModelServer):
    content, status, param, words = REFUSED[name]
    response = server.post(content)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert words in error["message"]
    assert error["param"] == param
    assert error["type"] == ("not_found_error" if status == 404 else "invalid_request_error")


def test_neutral_values_are_accepted(server: ModelServer):
    fields = {"n": 1, "logprobs": False, "frequency_penalty": 0, "stop": None, "user": "someone", "top_p": 1}
    assert server.post(body(**fields)).status_code == 200


def test_other_paths_and_methods_are_answered_in_the_same_shape(server: ModelServer):
    with server.client() as http:
        missing, wrong = http.get("/v1/completions"), http.get("/v1/chat/completions")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert "POST /v1/chat/completions" in missing.json()["error"]["message"]
    assert wrong.json()["error"]["param"] is None


def is_up(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health", timeout=HANGS_S).status_code == 200
    except httpx2.TransportError:
        return False


def test_runs_can_use_it_as_any_other_server(
    source: Path, without_django: dict[str, str], warm_core: dict[str, str]
):
    """Through the client of generate runs, which leaves out the fields that are refused by name."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = start(source, without_django | warm_core, "--port", str(port), "--name", "tiny")
    config = GenerateConfig(server=f"{url}/v1", server_model="tiny", samples=2, max_new_tokens=9)
    found: list[Completion] = []
    try:
        until(lambda: is_up(url), "it answers")
        complete_prompts(
            [(Prompt(1, "a", [USER]), [1, 2])], config, Recorded(), lambda _, got: found.extend(got)
        )
    finally:
        process.terminate()
        process.wait(HANGS_S)
    assert [one.seed for one in found] == [1, 2]
    assert all(0 < one.tokens <= 9 and one.prompt_tokens for one in found)
    assert found[0].text != found[1].text


def test_a_small_nucleus_leaves_the_likeliest_token(server: ModelServer):
    greedy = server.ask("nine", temperature=0, max_tokens=30)["choices"]
    hot = [server.ask("nine", temperature=1.5, seed=seed, max_tokens=30)["choices"] for seed in range(3)]
    narrow = [
        server.ask("nine", temperature=1.5, top_p=1e-6, seed=seed, max_tokens=30)["choices"]
        for seed in range(3)
    ]
    assert narrow == [greedy] * 3
    assert hot != narrow


def test_without_a_seed_answers_differ(server: ModelServer):
    texts = {
        server.ask("nine", temperature=2.0, max_tokens=30)["choices"][0]["message"]["content"]
        for _ in range(4)
    }
    assert len(texts) > 1


def test_without_a_number_of_tokens_there_is_as_much_as_fits(server: ModelServer):
    answers = [server.ask("nine " * 30, temperature=5.0, seed=seed) for seed in range(10)]
    totals = [
        answer["usage"]["total_tokens"]
        for answer in answers
        if answer["choices"][0]["finish_reason"] == "length"
    ]
    assert totals
    assert set(totals) == {128}, "the answer has room for fewer than 100 tokens"
