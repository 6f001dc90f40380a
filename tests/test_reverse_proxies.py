"""The site behind nginx and Caddy, by the examples in deploy/."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.core.cache import cache
from django.urls import reverse
from requests.adapters import HTTPAdapter

from annotation import chat_stream
from annotation.models import ApiToken, Import, Judgment, Member, Project, User
from tests import builders, live_chats
from tests.patience import HANGS_S
from tests.processes import free_port, kill, process, until
from tests.site_client import SiteClient

pytestmark = [pytest.mark.live, pytest.mark.slow(40), pytest.mark.django_db(transaction=True)]

DEPLOY = settings.BASE_DIR / "deploy"
CLIENT = "127.0.0.5"
"""The address that clients of the tests connect from; proxies connect from 127.0.0.1."""


def nginx(folder: Path, web: int, http: int, https: int) -> list[str]:
    site = (DEPLOY / "nginx.conf").read_text()
    for written, here in {
        "127.0.0.1:8000": f"127.0.0.1:{web}",
        "palate.example.org": "localhost",
        "/etc/ssl/palate/fullchain.pem": str(folder / "certificate"),
        "/etc/ssl/palate/privkey.pem": str(folder / "key"),
        "/var/log/nginx/palate.log": str(folder / "access.log"),
    }.items():
        assert written in site
        site = site.replace(written, here)
    site = re.sub(r" *listen \[::\].*\n", "", site)
    site = site.replace("listen 80;", f"listen 127.0.0.1:{http};").replace(
        "listen 443", f"listen 127.0.0.1:{https}"
    )
    folders = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    )
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(
        f"daemon off; user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\n{folders}include {folder}/site.conf;\n}}\n"
    )
    return ["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, web: int, http: int, https: int) -> list[str]:
    site = (DEPLOY / "Caddyfile").read_text()
    for written, here in {
        "127.0.0.1:8000": f"127.0.0.1:{web}",
        "palate.example.org {": f"localhost {{\n\tbind 127.0.0.1\n\ttls {folder}/certificate {folder}/key",
    }.items():
        assert written in site
        site = site.replace(written, here)
    options = (
        f"{{\n\tadmin off\n\thttp_port {http}\n\thttps_port {https}\n\tstorage file_system {folder}\n}}\n"
    )
    (folder / "Caddyfile").write_text(options + site)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@pytest.fixture(scope="module")
def web(django_db_setup: None) -> Iterator[int]:
    port = free_port()
    with process("web", port=port, TRUSTED_PROXIES="127.0.0.1", HTTPS="true"):
        until(SiteClient(f"http://127.0.0.1:{port}").is_up, "the web process answers")
        yield port


class Proxy:
    """A running proxy; `client` makes a browser of its site."""

    def __init__(self, folder: Path, http: int, https: int) -> None:
        self.certificate, self.http = str(folder / "certificate"), f"http://localhost:{http}"
        self.https = f"https://localhost:{https}"

    def client(self, **headers: str) -> SiteClient:
        client = SiteClient(self.https, self.certificate, **headers)
        client.mount("https://", AddressAdapter())
        return client


class AddressAdapter(HTTPAdapter):
    """Connects from `CLIENT`."""

    def init_poolmanager(self, *args: object, **options: object) -> None:  # type: ignore[override]
        super().init_poolmanager(*args, source_address=(CLIENT, 0), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[nginx, caddy], ids=lambda server: server.__name__)
def proxy(
    request: pytest.FixtureRequest, web: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    server: Callable[..., list[str]] = request.param
    if not shutil.which(server.__name__):
        pytest.skip(f"{server.__name__} is not installed")
    with running(server, web, tmp_path_factory.mktemp(server.__name__)) as proxy:
        yield proxy


@contextmanager
def running(server: Callable[..., list[str]], web: int, folder: Path) -> Iterator[Proxy]:
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(folder / "key"), "-out", str(folder / "certificate")),
        ],
        capture_output=True,
        check=True,
    )
    ports = free_port(), free_port()
    proxy = Proxy(folder, *ports)
    with (folder / "output").open("w") as output:
        child = subprocess.Popen(
            server(folder, web, *ports),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def is_up() -> bool:
        assert child.poll() is None, (folder / "output").read_text()
        return proxy.client().is_up()

    try:
        until(is_up, f"{server.__name__} answers")
        yield proxy
    finally:
        kill(child)


@pytest.fixture
def project() -> Project:
    cache.clear()
    project = builders.project(builders.user("alice"))
    builders.join(project, builders.user("bob"), Member.Role.ANNOTATOR)
    builders.items(project, 3)
    return project


@pytest.fixture
def api(proxy: Proxy, project: Project) -> SiteClient:
    """A script of the lead."""
    lead = project.members.get(role=Member.Role.LEAD).user
    key = ApiToken.issue(user=lead, name="script", scope=ApiToken.Scope.LEAD)[1]
    return proxy.client(Authorization=f"Bearer {key}")


def test_people_sign_in_and_judge(proxy: Proxy, project: Project) -> None:
    bob = proxy.client(X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="http")
    assert bob.sign_in("bob").status_code == 302
    assert all(cookie.secure for cookie in bob.cookies)
    assert UserSession.objects.get().ip == CLIENT
    answer = bob.judge()
    assert answer is not None
    assert answer.ok
    assert Judgment.objects.count() == 1
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_http_leads_to_https(proxy: Proxy) -> None:
    answer = SiteClient(proxy.http).get("/sign-in/?next=/a/", allow_redirects=False)
    assert answer.status_code in (301, 308)
    assert re.fullmatch(r"https://localhost(:\d+)?/sign-in/\?next=/a/", answer.headers["Location"])


def test_pages_are_updated_by_websockets(proxy: Proxy, project: Project) -> None:
    alice = proxy.client()
    alice.sign_in("alice")
    with alice.socket(f"/ws/p/{project.slug}/") as socket:
        assert json.loads(socket.recv(HANGS_S))["kind"] == "queue"
        bob = proxy.client()
        bob.sign_in("bob")
        bob.judge()
        assert json.loads(socket.recv(HANGS_S))["kind"] == "queue"


def test_exports_are_streamed(proxy: Proxy, project: Project, api: SiteClient) -> None:
    builders.judgment(project, project.members.get(role=Member.Role.ANNOTATOR).user)
    answer = api.get(f"/api/v1/projects/{project.slug}/judgments/", stream=True)
    assert "Content-Length" not in answer.headers
    assert len(list(answer.iter_lines())) == 6  # pairs of four answers


def test_large_files_are_uploaded(proxy: Proxy, project: Project, api: SiteClient) -> None:
    """One that is larger than what proxies take by default, and than what Django holds in memory."""
    row = {"prompt": "Why?", "responses": ["a" * 10 * 2**20, "b", "c", "d"]}
    file = "\n".join(json.dumps({"id": str(n)} | row) for n in range(3))
    answer = api.post(f"/api/v1/projects/{project.slug}/imports/", files={"file": ("large.jsonl", file)})
    assert answer.status_code == 202, answer.text
    assert Import.objects.get().bytes == len(file)


def test_a_request_has_one_id_all_the_way(proxy: Proxy) -> None:
    assert proxy.client(X_Request_ID="of-the-client").get("/livez").headers["X-Request-ID"] == "of-the-client"
    assert re.fullmatch("[0-9a-f]{32}", proxy.client().get("/livez").headers["X-Request-ID"])


def test_metrics_stay_inside(proxy: Proxy, web: int) -> None:
    headers = {"Authorization": f"Bearer {settings.METRICS_TOKEN}"}
    assert SiteClient(f"http://127.0.0.1:{web}", **headers).get("/metrics").ok
    assert proxy.client(**headers).get("/metrics").status_code == 404


def test_answers_of_chats_come_as_they_are_written(proxy: Proxy, project: Project) -> None:
    """Nothing on the way collects them: each piece arrives before the next one is written."""
    live_chats.enable(project)
    bob = proxy.client()
    bob.sign_in("bob")
    turn = live_chats.send(project, User.objects.get(username="bob"))
    path = reverse("turn-stream", args=[project.slug, turn.chat_id, turn.pk])

    def write(**data: object) -> None:
        async def write() -> None:
            async with chat_stream.connect() as client:
                await chat_stream.write(client, turn.stream, [chat_stream.NewEvent("piece", data)])

        asyncio.run(write())

    with bob.get(path, stream=True, timeout=HANGS_S) as response:
        lines = response.iter_lines(chunk_size=1)
        assert response.headers["Content-Type"] == "text/event-stream"
        for number in range(3):
            write(side="a", offset=number, text=str(number))
            data = next(line for line in lines if line.startswith(b"data: "))
            assert json.loads(data.removeprefix(b"data: "))["text"] == str(number)
