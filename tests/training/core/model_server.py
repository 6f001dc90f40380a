"""The model server as a process of its own, and its clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.patience import HANGS_S


class ModelServer:
    """A running `python -m training.core.serve`."""

    def __init__(self, process: subprocess.Popen[str], socket: Path, name: str) -> None:
        self.process, self.socket, self.name = process, socket, name

    def client(self) -> httpx2.Client:
        transport = httpx2.HTTPTransport(uds=str(self.socket))
        return httpx2.Client(transport=transport, base_url="http://model", timeout=HANGS_S)

    def post(self, body: Any, path: str = "/v1/chat/completions") -> httpx2.Response:
        """The answer to a body, as JSON unless it is bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        with self.client() as http:
            return http.post(path, content=content)

    def ask(self, text: str | list[dict[str, str]], **fields: Any) -> dict[str, Any]:
        """The whole answer to a message or a conversation."""
        response = self.post(self.body(text, **fields))
        assert response.status_code == 200, response.text
        return dict(response.json())

    def stream(self, text: str | list[dict[str, str]], **fields: Any) -> list[dict[str, Any]]:
        """The events of a streamed answer; the last must be [DONE], which is left out."""
        with (
            self.client() as http,
            http.stream(
                "POST", "/v1/chat/completions", json=self.body(text, stream=True, **fields)
            ) as response,
        ):
            assert response.status_code == 200, response.read()
            data = [line.removeprefix("data: ") for line in response.iter_lines() if line]
        assert data[-1] == "[DONE]", data[-1]
        return [json.loads(one) for one in data[:-1]]

    def health(self) -> dict[str, Any]:
        with self.client() as http:
            return dict(http.get("/health").json())

    def body(self, text: str | list[dict[str, str]], **fields: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}] if isinstance(text, str) else text
        return {"model": self.name, "messages": messages, **fields}


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(one["delta"].get("content", "") for event in events for one in event["choices"])


@contextmanager
def model_server(
    model: Path, environment: dict[str, str], *options: str, **more: str
) -> Iterator[ModelServer]:
    """The program on a socket of its own, when it answers; killed at the end if it still runs."""
    with tempfile.TemporaryDirectory(prefix="palate-") as folder:  # a socket's path must be short
        socket = Path(folder) / "model.sock"
        process = start(model, environment | more, "--socket", str(socket), *options)
        try:
            server = ModelServer(process, socket, model.name)
            wait_until_it_answers(server)
            yield server
        finally:
            process.kill()
            process.wait()


def start(model: Path | str, environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "training.core.serve", str(model), "--threads", "1", *options],
        env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_until_it_answers(server: ModelServer) -> None:
    end = time.monotonic() + HANGS_S
    while time.monotonic() < end:
        try:
            server.health()
            return
        except httpx2.TransportError:
            assert server.process.poll() is None, server.process.communicate()
            time.sleep(0.05)
    raise AssertionError("the server does not answer")
