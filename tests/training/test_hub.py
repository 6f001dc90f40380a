"""A model of a hub is looked up when it is added: a real HTTP server stands at the hub's address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from annotation.models import ApiToken
from tests import builders
from tests.processes import free_port
from training.errors import RunError
from training.models import ModelVersion
from training.registry.hub import check_hub_model

MODELS: dict[str, tuple[int, Any]] = {
    "org/small/revision/main": (200, {"siblings": [{"rfilename": "model.safetensors"}]}),
    "org/small/revision/refs%2Fpr%2F1": (200, {"siblings": [{"rfilename": "a/model-1.safetensors"}]}),
    "org/pickled/revision/main": (200, {"siblings": [{"rfilename": "pytorch_model.bin"}]}),
    "org/code/revision/main": (
        200,
        {"siblings": [{"rfilename": "model.safetensors"}], "config": {"auto_map": {"AutoModel": "x"}}},
    ),
    "org/private/revision/main": (401, {"error": "Invalid username or password."}),
    "org/broken/revision/main": (503, {}),
    "org/list/revision/main": (200, []),
    "org/odd-config/revision/main": (
        200,
        {"siblings": [{"rfilename": "model.safetensors"}], "config": ["x"]},
    ),
    "org/no-files/revision/main": (200, {"siblings": None}),
}
# what a server answers that is no hub
BYTES = {
    "/api/models/org/other-protocol/revision/main": b"220 mail.example.org\r\n",
    "/api/models/org/cut/revision/main": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}",
    "/api/models/org/nested/revision/main": b"HTTP/1.1 200 OK\r\n\r\n" + 100_000 * b"[",
}


class Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path in BYTES:
            self.wfile.write(BYTES[self.path])
            return
        status, answer = MODELS.get(self.path.removeprefix("/api/models/"), (404, {}))
        if status == 401 and self.headers["Authorization"] == "Bearer ours":
            status, answer = MODELS["org/small/revision/main"]
        self.send_response(status)
        if status == 307:
            self.send_header("Location", answer)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(settings, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(settings, "HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("location", ["hub:org/small@main", "hub:org/small@refs/pr/1", "file:/not/asked"])
def test_a_model_that_is_there(location: str) -> None:
    check_hub_model(location)


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("hub:org/smal@main", "The hub has no org/smal at main"),
        ("hub:org/small@v2", "The hub has no org/small at v2"),
        ("hub:org/private@main", "it is private or gated, and HF_TOKEN"),
        ("hub:org/pickled@main", "has no safetensors"),
        ("hub:org/code@main", "custom code"),
        ("hub:org/broken@main", "an error of its own"),
        ("hub:org/list@main", "does not answer"),
        ("hub:org/odd-config@main", "does not answer"),
        ("hub:org/no-files@main", "has no safetensors"),
        ("hub:org/other-protocol@main", "does not answer"),
        ("hub:org/cut@main", "does not answer"),
        ("hub:org/nested@main", "does not answer"),
    ],
)
def test_a_model_that_cannot_be_used(location: str, sentence: str) -> None:
    with pytest.raises(RunError, match=sentence) as refused:
        check_hub_model(location)
    assert refused.value.field == "location"


def test_the_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "ours")
    check_hub_model("hub:org/private@main")


def test_the_token_goes_on_to_a_model_s_new_name_and_to_no_other_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "ours")
    private = "/api/models/org/private/revision/main"
    monkeypatch.setitem(MODELS, "org/old-name/revision/main", (307, private))
    check_hub_model("hub:org/old-name@main")
    other = settings.HF_ENDPOINT.replace("127.0.0.1", "localhost")
    monkeypatch.setitem(MODELS, "org/moved/revision/main", (307, f"{other}{private}"))
    with pytest.raises(RunError, match="it is private or gated"):
        check_hub_model("hub:org/moved@main")


@pytest.mark.parametrize("address", ["huggingface.co", "http://[::1", "file:///etc"])
def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(settings, "HF_ENDPOINT", address)
    with pytest.raises(RunError, match="does not answer this site"):
        check_hub_model("hub:org/small@main")


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RunError, match=r"does not answer this site \(.*refused"):
        check_hub_model("hub:org/small@main")
    monkeypatch.setattr(settings, "HF_HUB_OFFLINE", True)
    check_hub_model("hub:org/small@main")


@pytest.mark.django_db
def test_the_form_names_the_mistake_and_offers_to_add_it_anyway(client: Client) -> None:
    lead = builders.user("alice")
    project = builders.project(lead)
    client.force_login(lead, backend="annotation.backends.AccountBackend")
    url = reverse("models", args=[project.slug])
    entry = {"name": "small", "kind": "policy", "location": "hub:org/smal@main"}
    first = client.get(url).content.decode()
    assert "without_hub" not in first
    refused = client.post(url, entry)
    assert refused.status_code == 422
    page = refused.content.decode()
    assert "The hub has no org/smal at main" in page
    assert 'type="checkbox" name="without_hub"' in page
    assert not ModelVersion.objects.exists()
    assert client.post(url, entry | {"without_hub": "on"}).status_code == 302
    assert client.post(url, entry | {"name": "right", "location": "hub:org/small@main"}).status_code == 302
    assert ModelVersion.objects.count() == 2


@pytest.mark.django_db
def test_the_api_names_the_mistake(client: Client) -> None:
    lead = builders.user("alice")
    project = builders.project(lead)
    token = ApiToken.issue(user=lead, name="t", scope=ApiToken.Scope.LEAD)[1]
    path = f"/api/v1/projects/{project.slug}/models/"
    entry = {"name": "small", "kind": "policy", "location": "hub:org/smal@main"}

    def post(**more: object) -> Any:
        return client.post(
            path, entry | more, content_type="application/json", headers={"Authorization": f"Bearer {token}"}
        )

    refused = post()
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["location"])
    assert post(ask_hub=False).status_code == 201
