"""A reverse proxy before the S3 server of tests, a process of its own, that answers with the faults which it is told.

A fault is JSON sent to /fault: `status` and `code` (S3's answer in place of the server's), `truncated` (half of the body, then
the connection ends), `replaced` (another body of the same length) or `delay_s`; and the `methods` that it concerns, by default
all. Without any of them the proxy only forwards.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.processes import free_port, kill, until
from tests.s3_server import S3Server

ROOT = Path(__file__).resolve().parents[1]


class FaultyS3:
    """The proxy. It has what an `S3Server` has: `environment`, what a process needs to use its bucket."""

    def __init__(self, server: S3Server) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = server.environment | {"AWS_ENDPOINT_URL": self.url}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faulty_s3", str(port), str(server.port)],
            cwd=ROOT,
            start_new_session=True,
        )
        until(self._answers, "the proxy answers")

    def fault(self, **fault: Any) -> None:
        """Have the proxy answer so from now on; without arguments, forward everything."""
        request = urllib.request.Request(f"{self.url}/fault", json.dumps(fault).encode(), method="POST")
        urllib.request.urlopen(request, timeout=30).close()

    def _answers(self) -> bool:
        with suppress(OSError):
            self.fault()
            return True
        return False


@contextmanager
def faulty_s3(server: S3Server) -> Iterator[FaultyS3]:
    proxy = FaultyS3(server)
    try:
        yield proxy
    finally:
        kill(proxy.process)


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_port = 0
    fault: dict[str, Any] = {}

    def handle_request(self) -> None:
        with suppress(ConnectionError):  # the client went away, as after a part that was refused
            self._handle()

    def _handle(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/fault":
            Proxy.fault = json.loads(content)
            return self._answer(200, {}, b"")
        fault = self.fault if self.command in self.fault.get("methods", [self.command]) else {}
        time.sleep(fault.get("delay_s", 0))
        if "status" in fault:
            text = f"<Error><Code>{fault['code']}</Code><Message>Told so.</Message></Error>"
            return self._answer(fault["status"], {"Content-Type": "application/xml"}, text.encode())
        status, headers, body = self._forward(content)
        if fault.get("replaced"):
            body = b"x" * len(body)
        self._answer(status, headers, body, cut=bool(fault.get("truncated")))
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request  # noqa: N815

    def _forward(self, content: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=60)
        connection.request(self.command, self.path, content, dict(self.headers))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers.items()}.get("content-length", "0")
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


if __name__ == "__main__":
    Proxy.server_port = int(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Proxy).serve_forever()
