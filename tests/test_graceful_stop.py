"""Processes that are told to stop while they are at work. A trainer is in test_claims.py."""

from __future__ import annotations

import http.client
import json
import urllib.request
from pathlib import Path

import pytest
from django.conf import settings

from annotation.models import ApiToken, Import, Item, Prompt
from tests import builders
from tests.annotation.test_run_import import is_being_read, nothing_came_in, queued_large
from tests.patience import HANGS_S
from tests.processes import free_port, process, until

pytestmark = [pytest.mark.live, pytest.mark.django_db(transaction=True)]


def test_a_web_process_answers_what_it_has_begun_and_takes_nothing_new() -> None:
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


def test_an_importer_puts_its_file_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path)
    upload = queued_large(builders.project(builders.user("alice")))
    with process("importer") as importer:
        until(is_being_read, "it is being read")
        importer.terminate()
        assert importer.wait(HANGS_S) == 0
    upload.refresh_from_db()
    assert (upload.state, upload.claim, upload.attempt) == ("queued", None, 0)
    assert nothing_came_in()
    with process("importer"):  # no sweep: the stopped worker left a message
        until(lambda: Import.objects.get().state == "done", "another worker has read it")
    assert Item.objects.count() == 4000
