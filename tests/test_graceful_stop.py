"""The web process is told to stop while a request is in flight."""

from __future__ import annotations

import http.client
import json
import urllib.request

import pytest

from annotation.models import ApiToken, Prompt
from tests import builders
from tests.patience import HANGS_S
from tests.processes import free_port, process, until

pytestmark = [pytest.mark.live, pytest.mark.django_db(transaction=True)]


def test_it_answers_what_it_has_begun_and_takes_nothing_new() -> None:
    alice = builders.user("alice")
    builders.project(alice)
    key = ApiToken.issue(user=alice, name="script", scope=ApiToken.Scope.LEAD)[1]
    body = json.dumps({"id": "q", "prompt": "Why?", "responses": ["a", "b", "c", "d"]}).encode() + b"\n"
    port = free_port()
    with process("web", port=port) as web:
        until(lambda: accepts(port), "the web process answers")
        upload = http.client.HTTPConnection("127.0.0.1", port, timeout=HANGS_S)
        upload.putrequest("POST", "/api/v1/projects/helpfulness/prompts/")
        for name, value in {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/x-ndjson",
            "Content-Length": str(len(body)),
        }.items():
            upload.putheader(name, value)
        upload.endheaders(body[:10])
        assert accepts(port)  # so the headers of the first have been read
        web.terminate()
        until(lambda: not accepts(port), "new requests are refused")
        assert web.poll() is None
        upload.send(body[10:])
        answer = upload.getresponse()
        assert answer.status == 200, answer.read()
        upload.close()
        assert web.wait(HANGS_S) in (0, -15)
    assert Prompt.objects.get().external_id == "q"


def accepts(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=HANGS_S).status == 200)
    except OSError:
        return False
