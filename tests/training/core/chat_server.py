"""An HTTP server with chat completions, whose answers a test decides."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Http:
    """An HTTP server whose answers a test decides: `answer` is given each request and returns (status, headers, body)."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.pauses: list[float] = []
        """Seconds for which the client meant to wait; nobody does wait."""
        self.under_way = self.most_under_way = 0
        self.answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], Any]] = as_vllm
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.requests.append(request | {"path": self.path})
                    outer.headers.append(dict(self.headers))
                    outer.under_way += 1
                    outer.most_under_way = max(outer.most_under_way, outer.under_way)
                status, headers, body = outer.answer(request)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                with lock:
                    outer.under_way -= 1
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # the client has given up

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def as_vllm(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    said = request["messages"][-1]["content"]
    choices = [
        {
            "index": number,
            "message": {"role": "assistant", "content": f" {said}, {request['seed']}, {number} "},
            "finish_reason": "length" if number else "stop",
            "token_ids": [5, 6 + number],
            "logprobs": {"content": [{"logprob": -0.5}, {"logprob": -1 - number}]},
        }
        for number in range(request.get("n", 1))
    ]
    return 200, {}, {"choices": choices, "usage": {"completion_tokens": 2 * len(choices)}}


def as_a_plain_server(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """One response whatever `n` is, and neither ids nor log-probs."""
    choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
    return 200, {}, {"choices": [choice]}
