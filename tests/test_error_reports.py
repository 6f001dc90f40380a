"""What the server of `SENTRY_DSN` gets: a real web process, and a server in a process of its own that stores what it is sent."""

from __future__ import annotations

import http.cookiejar
import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from config.error_reports import scrub
from config.log_context import log_ids
from tests import builders
from tests.patience import HANGS_S
from tests.processes import free_port, process, until

SERVER = """
import gzip, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        with open(sys.argv[2], "ab") as file:
            file.write(body + b"\\n")
        self.send_response(200)
        self.end_headers()
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SECRETS = ("correct horse", "hidden-in-a-query", "hidden-in-a-header")


@contextmanager
def error_server(file: Path) -> Iterator[int]:
    port = free_port()
    child = subprocess.Popen([sys.executable, "-c", SERVER, str(port), str(file)], stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        child.kill()
        child.wait()


@pytest.mark.live
@pytest.mark.django_db(transaction=True)
def test_an_error_is_reported_without_what_was_sent(tmp_path: Path) -> None:
    builders.user("bob")
    received, port = tmp_path / "received", free_port()
    with (
        error_server(received) as sink,
        process(
            "web",
            port=port,
            SENTRY_DSN=f"http://key@127.0.0.1:{sink}/1",
            RELEASE="tried-1",
            REDIS_URL="unix:///nowhere/valkey.sock",  # signing in fails without it
        ),
    ):
        site = f"http://127.0.0.1:{port}"
        cookies = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))

        def answers() -> bool:
            try:
                return bool(browser.open(f"{site}/sign-in/", timeout=HANGS_S).status == 200)
            except OSError:
                return False

        until(answers, "the web process answers")
        token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
        assert token is not None
        form = {"login": "bob", "password": "correct horse", "csrfmiddlewaretoken": token}
        request = urllib.request.Request(
            f"{site}/sign-in/?next=/hidden-in-a-query",
            urllib.parse.urlencode(form).encode(),
            {"X-Api-Key": "hidden-in-a-header", "X-Request-ID": "the-request"},
        )
        with pytest.raises(urllib.error.HTTPError, match="503"):
            browser.open(request, timeout=HANGS_S)
        until(lambda: received.exists() and b'"exception"' in received.read_bytes(), "the report arrives")
    text = received.read_text()
    for secret in (*SECRETS, token, "bob"):
        assert secret not in text, secret
    report = next(row for row in map(json.loads, text.splitlines()) if "exception" in row)
    assert report["release"] == "tried-1"
    assert report["transaction"] == "/sign-in/"
    assert report["request"] == {"method": "POST"}
    assert report["tags"]["request_id"] == "the-request"
    last = report["exception"]["values"][-1]
    assert last["type"] == "ConnectionError"
    assert last["stacktrace"]["frames"]


def test_only_what_is_known_to_be_harmless_is_sent() -> None:
    text = "what an annotator wrote"
    event: dict[str, Any] = {
        "level": "error",
        "transaction": "/p/{slug}/work/",
        "exception": {"values": [{"type": "DataError", "value": text, "stacktrace": {"frames": []}}]},
        "logentry": {"message": "run %s failed", "params": [text], "formatted": text},
        "request": {"method": "POST", "url": text, "data": text, "headers": {"Cookie": text}},
        "extra": {"celery-job": {"args": [text]}},
        "user": {"username": text},
        "breadcrumbs": {"values": [{"message": text}]},
        "contexts": {"anything": {"of": text}},
        "a field of tomorrow": text,
    }
    with log_ids(run=7):
        scrubbed = scrub(event, {})
    assert text not in json.dumps(scrubbed)
    assert scrubbed["exception"]["values"] == [{"type": "DataError", "stacktrace": {"frames": []}}]
    assert scrubbed["logentry"] == {"message": "run %s failed"}
    assert scrubbed["tags"] == {"run": "7"}


def test_a_wrong_dsn_and_a_missing_library_are_named() -> None:
    for dsn, without, sentence in (
        ("nonsense", "", "SENTRY_DSN is invalid: Unsupported scheme ''"),
        ("http://key@localhost/1", "sentry_sdk", "SENTRY_DSN needs sentry-sdk: install palate[sentry]."),
    ):
        code = f"import sys; sys.modules[{without!r}] = None; from config.error_reports import start; start({dsn!r}, '')"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=settings.BASE_DIR, capture_output=True, text=True
        )
        assert sentence in done.stderr, done.stderr
