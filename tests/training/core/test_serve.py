"""The model server, as the program that it is."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from tests.patience import HANGS_S
from tests.processes import free_port, until
from tests.training.core.conftest import sentence, tiny_llama
from tests.training.core.model_server import ModelServer, model_server, start, text_of
from training.core.model_loading import build_encoder, load_policy, load_tokenizer, save_policy
from training.core.sampling import end_token_ids, sample_responses

pytestmark = [pytest.mark.live, pytest.mark.slow(60)]

LONG = {"max_tokens": 90}
CHAT = [
    {"role": "user", "content": "the ferry leaves"},
    {"role": "assistant", "content": "at nine"},
    {"role": "user", "content": "and the train"},
]


def save(folder: Path, tokenizer: PreTrainedTokenizerBase, softness: float = 0.5) -> Path:
    """A model whose next token is uncertain."""
    model = tiny_llama(len(tokenizer))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter *= softness
    save_policy(model, tokenizer, folder, instruction="")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    return save(tmp_path_factory.mktemp("served") / "policy", tokenizer)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A model of many positions that does not end a response by itself: its end tokens are unlikely."""
    folder = tmp_path_factory.mktemp("served") / "endless"
    model = tiny_llama(len(tokenizer))
    model.config.max_position_embeddings = 100_000
    with torch.no_grad():
        model.lm_head.weight[[model.config.eos_token_id, tokenizer.eos_token_id]] = 0
        model.lm_head.weight *= 10
    save_policy(model, tokenizer, folder, instruction="")
    return folder


@pytest.fixture(scope="module")
def environment(without_django: dict[str, str], warm_core: dict[str, str]) -> dict[str, str]:
    return without_django | warm_core


@pytest.fixture(scope="module")
def server(model: Path, environment: dict[str, str]) -> Iterator[ModelServer]:
    with model_server(model, environment, "--max-sequences", "8", "--max-new-tokens", "100") as server:
        yield server


@pytest.fixture
def slow(endless: Path, environment: dict[str, str]) -> Iterator[ModelServer]:
    """A server whose answers do not end within a test."""
    options = ("--max-sequences", "2", "--max-length", "90000", "--max-new-tokens", "80000")
    with model_server(endless, environment, *options) as server:
        yield server


def expected(
    model: Path, messages: list[dict[str, str]], *, temperature: float, seed: int = 0, tokens: int = 40
) -> str:
    """What a generate run would sample."""
    policy: Any = load_policy(str(model))
    encoder = build_encoder(policy, load_tokenizer(str(model))[0], 128)
    [response] = sample_responses(
        policy, [encoder.encode_prompt(messages, max_tokens=100, line=1)], [seed],
        samples=1, max_new_tokens=tokens, temperature=temperature, end_ids=end_token_ids(policy, encoder),
    )  # fmt: skip
    return encoder.decode(response.token_ids)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_answers_are_those_of_a_generate_run(model: Path, server: ModelServer, temperature: float):
    for seed in range(3):
        text = expected(model, CHAT, temperature=temperature, seed=seed)
        answer = server.ask(CHAT, temperature=temperature, seed=seed, max_tokens=40)
        assert answer["choices"][0]["message"] == {"role": "assistant", "content": text}


def test_a_stream_is_the_whole_answer_in_pieces(server: ModelServer):
    for seed in range(5):
        whole = server.ask(CHAT, seed=seed, max_tokens=40)
        events = server.stream(CHAT, seed=seed, max_tokens=40, stream_options={"include_usage": True})
        assert text_of(events) == whole["choices"][0]["message"]["content"]
        assert len(events) > 10
        assert events[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
        usage = events[-1]["usage"]
        assert {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")} == {
            name: whole["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")
        }


def test_an_answer_ends_by_itself_or_at_the_limit(server: ModelServer):
    ends = {}
    for seed in range(20):
        answer = server.ask("nine", seed=seed, max_tokens=60, temperature=3.0)
        ends[answer["choices"][0]["finish_reason"]] = answer["usage"]["completion_tokens"]
    assert ends["length"] == 60
    assert 0 < ends["stop"] <= 60


def test_the_next_turn_reads_only_what_is_new(server: ModelServer):
    first = server.ask("the boat of this chat", seed=1, max_tokens=20, temperature=0)
    reply = first["choices"][0]["message"]["content"]
    chat = [
        {"role": "user", "content": "the boat of this chat"},
        {"role": "assistant", "content": reply},
        CHAT[-1],
    ]
    second = server.ask(chat, seed=2, max_tokens=20)
    again = server.ask(chat, seed=2, max_tokens=20)
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert first["usage"]["prompt_tokens"] <= cached < second["usage"]["prompt_tokens"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == second["usage"]["prompt_tokens"] - 1
    assert again["choices"] == second["choices"]


def test_the_same_answer_with_and_without_the_prefix(model: Path, server: ModelServer):
    server.ask("where from here", max_tokens=5)
    for temperature in (0.0, 1.0):
        answer = server.ask("where from here", temperature=temperature, seed=3, max_tokens=40)
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
        chat = [{"role": "user", "content": "where from here"}]
        text = expected(model, chat, temperature=temperature, seed=3)
        assert answer["choices"][0]["message"]["content"] == text


def test_eight_at_once_get_the_answers_that_each_gets_alone(server: ModelServer):
    asked = [(sentence(random.Random(number)), number) for number in range(8)]
    alone = [server.ask(text, seed=seed, **LONG)["choices"] for text, seed in asked]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda one: server.ask(one[0], seed=one[1], **LONG)["choices"], asked))
    assert together == alone


def test_too_many_at_once_are_told_to_come_later(slow: ModelServer):
    with slow.client() as http:
        streams = [
            http.stream("POST", "/v1/chat/completions", json=slow.body("nine", stream=True)) for _ in range(2)
        ]
        with streams[0] as first, streams[1] as second:
            assert first.status_code == second.status_code == 200
            refused = slow.post(slow.body("ten"))
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert "2 conversations at once" in refused.json()["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_its_generation(slow: ModelServer, stream: bool):
    client = slow.client()
    if stream:
        with client.stream("POST", "/v1/chat/completions", json=slow.body("nine", stream=True)) as response:
            pieces = response.iter_raw()
            next(pieces)
            assert slow.health()["under_way"] == 1
    else:
        client.timeout = 0.5
        with pytest.raises(httpx2.ReadTimeout):
            client.post("/v1/chat/completions", json=slow.body("nine"))
    until(lambda: slow.health()["under_way"] == 0, "the generation ends")


def test_sigterm_ends_streams_with_an_error(slow: ModelServer):
    body = slow.body("nine", stream=True)
    with slow.client() as http, http.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        slow.process.send_signal(signal.SIGTERM)
        data = [line.removeprefix("data: ") for line in lines if line]
    assert json.loads(data[-1])["error"]["message"] == "The model server ends."
    assert slow.process.wait(HANGS_S) == 0
    assert not slow.socket.exists()


def test_it_leaves_when_nobody_uses_it(model: Path, environment: dict[str, str]):
    with model_server(model, environment, "--idle-s", "1.5") as server:
        server.ask("nine", max_tokens=5)
        while server.process.poll() is None:
            with suppress(httpx2.TransportError):  # it has left
                server.health()  # which is no use of the model
        assert server.process.wait(HANGS_S) == 0
        assert not server.socket.exists()


def test_it_stays_while_it_answers(endless: Path, environment: dict[str, str]):
    options = ("--idle-s", "3", "--max-length", "90000", "--max-new-tokens", "80000")
    with model_server(endless, environment, *options) as server, server.client() as http:
        body = server.body("nine", stream=True)
        with http.stream("POST", "/v1/chat/completions", json=body) as response:
            pieces, start = response.iter_raw(), time.monotonic()
            while time.monotonic() < start + 5:
                next(pieces)
            assert server.health()["idle_s"] == 0
        assert server.process.wait(HANGS_S) == 0


def test_it_leaves_when_asked_unless_it_answers(slow: ModelServer):
    body = slow.body("nine", stream=True)
    with slow.client() as http, http.stream("POST", "/v1/chat/completions", json=body) as response:
        pieces = response.iter_raw()
        next(pieces)
        assert slow.post({}, "/leave").status_code == 409
    until(lambda: slow.health()["under_way"] == 0, "the generation ends")
    assert slow.post({}, "/leave").status_code == 200
    assert slow.process.wait(HANGS_S) == 0


def test_one_socket_has_one_server(server: ModelServer, model: Path, environment: dict[str, str]):
    second = start(model, environment, "--socket", str(server.socket))
    _, err = second.communicate(timeout=HANGS_S)
    assert (second.returncode, err.strip()) == (3, f"Another program serves at {server.socket}.")
    assert server.ask("nine", max_tokens=2)["choices"]


def test_the_socket_of_a_killed_server_is_taken_over(model: Path, environment: dict[str, str]):
    with model_server(model, environment) as server:
        server.process.kill()
        server.process.wait()
        until(lambda: not is_locked(server.socket), "the lock is free")
        assert server.socket.exists()
        again = start(model, environment, "--socket", str(server.socket))
        server.process = again
        until(lambda: answers(server), "the second answers")
        again.terminate()
        assert again.wait(HANGS_S) == 0


def is_locked(socket: Path) -> bool:
    lock = os.open(f"{socket}.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def answers(server: ModelServer) -> bool:
    try:
        return bool(server.health())
    except httpx2.TransportError:
        return False


def test_it_serves_at_a_port(model: Path, environment: dict[str, str]):
    port = free_port()
    process = start(model, environment, "--port", str(port), "--name", "mine")
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANGS_S) as http:

            def answers() -> bool:
                try:
                    return http.get("/health").status_code == 200
                except httpx2.TransportError:
                    return False

            until(answers, "it answers")
            assert [one["id"] for one in http.get("/v1/models").json()["data"]] == ["mine"]
            assert http.post("/leave").status_code == 403  # a web page could send it
    finally:
        process.terminate()
        assert process.wait(HANGS_S) == 0


BROKEN = {
    "no such folder": (lambda folder: "/nowhere/at/all", "There is no model at /nowhere/at/all"),
    "truncated": (lambda folder: cut(folder / "model.safetensors"), "is damaged"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "pickled": (
        lambda folder: (folder / "model.safetensors").rename(folder / "model.bin"),
        "only pickled weights",
    ),
    "its own code": (lambda folder: add_code(folder / "config.json"), "has code of its own"),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def add_code(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "x.Y"}}))


@pytest.mark.parametrize("name", BROKEN)
def test_a_model_that_cannot_be_served_gives_one_sentence(
    name: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase, environment: dict[str, str]
):
    folder = save(tmp_path / "model", tokenizer)
    breaks, words = BROKEN[name]
    model = breaks(folder) if name == "no such folder" else folder
    if name != "no such folder":
        breaks(folder)
    process = start(model, environment, "--socket", str(tmp_path / "s"))
    _, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == 2
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "s").exists()


def test_a_long_path_is_refused(model: Path, tmp_path: Path, environment: dict[str, str]):
    process = start(model, environment, "--socket", str(tmp_path / ("x" * 120)))
    _, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == 2
    assert "107 bytes" in err


def test_the_core_needs_no_django_to_serve(model: Path, without_django: dict[str, str]):
    """With its own imports, in an interpreter where Django cannot be imported."""
    with model_server(model, without_django) as server:
        assert server.ask("nine", max_tokens=3)["choices"]
