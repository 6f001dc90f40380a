"""Responses from a server, over real sockets: it answers as vLLM does, or is busy, slow, broken, or something else."""

from __future__ import annotations

import io
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.patience import HANGS_S
from tests.training.core.chat_server import Http, as_a_plain_server, as_vllm
from tests.training.core.conftest import write_job
from training.configs import ConfigError, GenerateConfig, from_dict
from training.core.chat_client import Completion, complete_prompts
from training.core.data import Prompt
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.http_client import FIRST_DELAY_S


def ask(
    http: Http, prompts: int = 1, events: Events | None = None, **config: Any
) -> dict[int, list[Completion]]:
    settings = {"server": http.url, "server_model": "m", "samples": 2, "max_new_tokens": 9} | config
    found: dict[int, list[Completion]] = {}
    asked = [Prompt(n + 1, n, [{"role": "user", "content": f"q{n}"}]) for n in range(prompts)]
    complete_prompts(
        [(one, [10 * one.line, 10 * one.line + 1][: settings["samples"]]) for one in asked],
        from_dict("generate", settings),  # type: ignore[arg-type]
        events or Events(io.StringIO()),
        lambda prompt, answers: found.__setitem__(prompt.id, answers),  # type: ignore[arg-type]
    )
    return found


def test_a_request_is_for_the_whole_distribution_with_ids_and_logprobs(http: Http):
    ask(http, temperature=0.7)
    assert http.requests == [
        {
            "path": "/v1/chat/completions",
            "model": "m",
            "messages": [{"role": "user", "content": "q0"}],
            "temperature": 0.7,
            "max_tokens": 9,
            "n": 2,
            "seed": 10,
            "logprobs": True,
            "top_p": 1.0,
            "top_k": 0,
            "return_token_ids": True,
        }
    ]


def test_ids_and_logprobs_come_back_as_the_server_gave_them(http: Http):
    first, second = ask(http)[0]
    assert first == Completion(" q0, 10, 0 ", True, 10, [5, 6], [-0.5, -1.0], 2)
    assert second == Completion(" q0, 10, 1 ", False, 10, [5, 7], [-0.5, -2.0], 2)


def test_logprobs_of_another_distribution_than_the_one_sampled_from_are_dropped(http: Http):
    assert [one.logprobs for one in ask(http, temperature=0.7)[0]] == [None, None]


def test_a_server_that_ignores_n_gets_another_request_with_the_next_seed(http: Http):
    http.answer = as_a_plain_server
    assert ask(http)[0] == [Completion("yes", True, seed, None, None, 0.0) for seed in (10, 11)]
    assert [request["seed"] for request in http.requests] == [10, 11]


def test_a_field_that_the_server_refuses_by_name_is_left_out_from_then_on(http: Http):
    def strict(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        unknown = {name for name in ("top_k", "return_token_ids") if name in request}
        if unknown:
            return 422, {}, {"detail": f"Unexpected fields in the request: {unknown}"}
        return as_vllm(request)

    http.answer = strict
    ask(http, prompts=3, concurrency=1, retries=0)
    assert len(http.requests) == 5
    assert "top_k" not in http.requests[-1]


def test_a_field_that_is_refused_without_quotation_marks_is_left_out_too(http: Http):
    def strict(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        unknown = [name for name in ("return_token_ids", "top_k") if name in request]
        if unknown:
            said = f"Unrecognized request argument supplied: {unknown[0]}"
            return 400, {}, {"error": {"message": said, "type": "invalid_request_error", "param": None}}
        return as_vllm(request)

    http.answer = strict
    ask(http, prompts=2, concurrency=1, retries=0)
    assert len(http.requests) == 4
    assert {"top_k", "return_token_ids"}.isdisjoint(http.requests[-1])


def test_max_completion_tokens_is_sent_where_max_tokens_is_refused(http: Http):
    def newer(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if "max_tokens" in request:
            return 400, {}, {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}}
        return as_vllm(request)

    http.answer = newer
    ask(http)
    assert http.requests[-1]["max_completion_tokens"] == 9


def test_retry_after_is_honoured(http: Http):
    answers = iter([(429, {"Retry-After": "0.6"}, b"slow down"), (503, {"Retry-After": "0"}, b"")])
    http.answer = lambda request: next(answers, None) or as_vllm(request)
    assert len(ask(http)[0]) == 2
    assert http.pauses == [0.6, 0.0]


def test_pauses_grow_between_failures_and_end_in_a_sentence(http: Http):
    http.answer = lambda request: (500, {}, {"error": {"message": "out of luck"}})
    with pytest.raises(
        BadInput, match=r"did not answer in 5 attempts \(retries = 4\).*500: out of luck"
    ) as raised:
        ask(http, retries=4)
    assert raised.value.setting == "server"
    assert len(http.pauses) == 4
    for number, pause in enumerate(http.pauses):
        assert 0.5 <= pause / (FIRST_DELAY_S * 2**number) <= 1.5, "doubled each time, a half more or less"


def test_a_request_that_takes_too_long_is_made_again(http: Http):
    over = threading.Event()

    def not_the_first(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if len(http.requests) == 1:
            over.wait()
        return as_vllm(request)

    http.answer = not_the_first
    assert len(ask(http, timeout_s=2)[0]) == 2
    over.set()
    assert len(http.requests) == 2


def test_an_unreachable_server_is_an_error_of_the_setting(http: Http):
    http.server.server_close()
    with pytest.raises(BadInput, match="did not answer in 2 attempts") as raised:
        ask(http, retries=1)
    assert raised.value.setting == "server"


REFUSALS: dict[str, tuple[int, Any, str, str]] = {
    "wrong key": (401, {"error": {"message": "Invalid key"}}, "server", r"PALATE_API_KEY"),
    "wrong path": (404, {"detail": "Not Found"}, "server", r"usually ends in /v1"),
    "no such model": (404, {"object": "error", "message": "The model `m` does not exist."}, "server_model", r"no server_model m"),
    "too long": (
        400,
        {"error": {"message": "This model's maximum context length is 8 tokens."}},
        "max_new_tokens",
        r"Line 1 of data.jsonl with max_new_tokens = 9 does not fit",
    ),
    "elsewhere": (302, b"<a>moved</a>", "server", r"refuses the request \(302\): <a>moved</a>"),
    "a web page": (200, b"<!doctype html><title>Hello</title>", "server", r"not answer with JSON but with <!doctype"),
    "no choices": (200, {"id": 1}, "server", r"without a list of choices"),
    "none at all": (200, {"choices": []}, "server", r"returned 0 responses for a request of 2"),
    "too many": (200, {"choices": [{"message": {"content": "a"}}] * 3}, "server", r"returned 3 responses for a request of 2"),
    "no message": (200, {"choices": [{"text": "a"}]}, "server", r"without a text message"),
    "no text": (200, {"choices": [{"message": {"content": [1]}}]}, "server", r"without a text message"),
    "a list": (200, [1], "server", r"without a list of choices"),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "setting", "says"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_asking_again_cannot_cure_ends_in_a_sentence_at_once(http: Http, status, body, setting, says):
    http.answer = lambda request: (status, {}, body)
    with pytest.raises(BadInput, match=says) as raised:
        ask(http)
    assert raised.value.setting == setting
    assert len(http.requests) == 1
    assert "\n" not in str(raised.value)


def test_an_answer_without_end_is_cut_short(http: Http, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("training.core.http_client.MAX_BODY_BYTES", 1 << 20)
    http.answer = lambda request: (200, {}, b"x" * (2 << 20))
    with pytest.raises(BadInput, match="more than 1 MiB"):
        ask(http)


def test_the_key_goes_to_its_own_server_only(http: Http, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PALATE_API_KEY", "secret")
    ask(http)
    monkeypatch.setenv("PALATE_API_SERVER", "https://api.example.com/v1")
    ask(http)
    monkeypatch.setenv("PALATE_API_SERVER", http.url + "/")
    ask(http)
    assert [headers.get("Authorization") for headers in http.headers] == [None, None, "Bearer secret"]


def test_concurrency_is_the_number_of_prompts_requested_at_a_time(http: Http):
    three = threading.Barrier(3)

    def together(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        three.wait(HANGS_S)
        time.sleep(0.02)  # a fourth has time to come
        return as_vllm(request)

    http.answer = together
    assert set(ask(http, prompts=9, concurrency=3)) == set(range(9))
    assert http.most_under_way == 3


def test_a_stop_does_not_wait_for_the_server(http: Http):
    events, over = Events(io.StringIO()), threading.Event()

    def never(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        events.stop_requested = True
        over.wait()
        return as_vllm(request)

    http.answer = never
    with pytest.raises(Stopped):
        ask(http, events=events)
    assert http.under_way == 1
    over.set()


@pytest.mark.parametrize(
    "server", ["localhost:8000", "ftp://host/v1", "http://user:word@host/v1", "http://host/v1?key=1"]
)
def test_only_a_plain_url_is_a_server(server: str):
    with pytest.raises(ConfigError, match=r"^server:"):
        from_dict("generate", {"server": server, "server_model": "m"})


def test_a_server_needs_a_models_name():
    with pytest.raises(ConfigError, match=r"^server_model:"):
        from_dict("generate", {"server": "http://host/v1"})
    assert GenerateConfig().server == ""


def test_a_run_against_a_server_is_stopped_and_goes_on_without_asking_twice(
    http: Http, start, do, tmp_path: Path
):
    rows = [{"id": f"p{n}", "prompt": [{"role": "user", "content": f"q{n}\u2028?"}]} for n in range(8)]
    config = {"server": http.url, "server_model": "m", "samples": 2, "concurrency": 1, "max_new_tokens": 4}
    write_job(tmp_path, "generate", rows, config=config)
    enough, over = threading.Event(), threading.Event()

    def first_few(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if len(http.requests) == 4:
            enough.set()
            over.wait()
        return as_vllm(request)

    http.answer = first_few
    process = start(tmp_path)
    assert enough.wait(HANGS_S)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=HANGS_S)
    over.set()
    assert process.returncode == 3
    with (tmp_path / "checkpoint" / "responses" / "served.jsonl").open("a") as kept:
        kept.write('[{"id": "p3", "sam')  # as a crash in mid-line leaves it
    http.requests.clear()
    http.answer = as_vllm
    code, events = do(tmp_path)
    assert code == 0
    assert {"event": "start", "kind": "generate", "total": 8, "resumed_from": 3} in events
    assert [request["messages"][0]["content"] for request in http.requests] == [
        f"q{n}\u2028?" for n in range(3, 8)
    ]
    lines = [
        json.loads(line) for line in (tmp_path / "output" / "responses.jsonl").read_text().split("\n") if line
    ]
    assert [(line["id"], line["sample"]) for line in lines] == [
        (f"p{n}", s) for n in range(8) for s in range(2)
    ]
    assert lines[0] == {
        "id": "p0",
        "sample": 0,
        "text": f"q0\u2028?, {lines[0]['seed']}, 0",
        "token_ids": [5, 6],
        "logprobs": [-0.5, -1.0],
        "seed": lines[0]["seed"],
        "temperature": 1.0,
        "finished": True,
    }
    assert events[-1]["result"]["responses"] == 16
