"""The live pages' sockets, over the real channel layer and with a real session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.db import connections
from django.test import Client, override_settings

from annotation.consumers import MIN_INTERVAL_S
from annotation.models import Member, Project, User
from config.asgi import application
from tests import builders
from tests.access_cases import policy, snapshot
from tests.patience import HANGS_S
from training.models import Run
from training.registry.actions import promote
from training.runs.actions import claim_run, finish_run, record_metrics, record_progress, start_run

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")
ALLOWED_HOST = b"http://localhost"


async def in_thread(work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """`work` as another process would do it: in a thread and on a connection of its own, with its commits."""

    def alone() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connections.close_all()

    return await sync_to_async(alone, thread_sensitive=False)()


@pytest.fixture
def project(transactional_db: None) -> Project:
    alice, bob, dana = (builders.user(name) for name in ("alice", "bob", "dana"))
    builders.user("charlie")
    project = builders.project(alice)
    builders.join(project, bob, Member.Role.ANNOTATOR)
    builders.join(project, dana, Member.Role.REVIEWER)
    policy(project)
    return project


@pytest.fixture
def run(project: Project) -> Run:
    alice, bob = User.objects.get(username="alice"), User.objects.get(username="bob")
    frozen = snapshot(project, alice, bob)
    run = claim_run(start_run(project=project, kind="reward", creator=alice, snapshot=frozen).pk)
    assert run is not None
    record_metrics(run, step=5, values={"loss": 0.7})
    return run


def cookie_of(name: str) -> bytes:
    client = Client()
    client.force_login(User.objects.get(username=name), backend="annotation.backends.AccountBackend")
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}".encode()


class Socket:
    """One end of a WebSocket, the site being at the other."""

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]], query: str = "") -> None:
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": [],
        }
        self.wire = ApplicationCommunicator(application, scope)
        self.allowed = False

    async def connect(self) -> None:
        await self.wire.send_input({"type": "websocket.connect"})
        self.allowed = (await self.wire.receive_output(timeout=HANGS_S))["type"] == "websocket.accept"

    async def receive(self) -> dict[str, Any]:
        return json.loads((await self.wire.receive_output(timeout=HANGS_S))["text"])

    async def next_of(self, kind: str) -> dict[str, Any]:
        while (event := await self.receive())["kind"] != kind:
            pass
        return event

    async def disconnect(self) -> None:
        await self.wire.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wire.wait(timeout=HANGS_S)


@asynccontextmanager
async def socket(
    path: str, who: str | None, origin: bytes = ALLOWED_HOST, query: str = ""
) -> AsyncIterator[Socket]:
    headers = [(b"origin", origin)]
    if who:
        headers.append((b"cookie", await in_thread(cookie_of, who)))
    page = Socket(path, headers, query)
    await page.connect()
    try:
        yield page
    finally:
        await page.disconnect()


def run_path(run: Run) -> str:
    return f"/ws/p/{run.project.slug}/runs/{run.pk}/"


async def test_it_sends_the_whole_state_on_connecting(run: Run) -> None:
    async with socket(run_path(run), "alice") as page:
        event = await page.receive()
    assert (event["kind"], event["run_kind"], event["state"]) == ("everything", "reward", "running")
    assert event["curves"] == {"loss": [[5, 0.7]]}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "Everything in the queue is judged."),
        ("language=de", "Alles in der Warteschlange ist beurteilt."),
        ("language=%00", "Everything in the queue is judged."),
    ],
)
async def test_the_queue_s_sentence_is_in_the_page_s_language(run: Run, query: str, sentence: str) -> None:
    async with socket(f"/ws/p/{run.project.slug}/", "alice", query=query) as page:
        event = await page.next_of("queue")
    assert event["queue"]["outlook"] == sentence


async def test_it_forwards_the_worker_s_events(run: Run) -> None:
    async with socket(run_path(run), "dana") as page:
        await page.next_of("everything")
        await in_thread(record_metrics, run, step=10, values={"loss": 0.6})
        metrics = await page.next_of("metrics")
        await in_thread(record_progress, run, step=10, total=40, eta_s=12.5)
        progress = await page.next_of("progress")
        await in_thread(finish_run, run, state=Run.State.DONE)
        state = await page.next_of("state")
    assert (metrics["step"], metrics["values"]) == (10, {"loss": 0.6})
    assert (progress["percent"], progress["eta_s"]) == (25, 12.5)
    assert state["state"] == "done"


async def test_it_sends_no_events_of_other_runs(run: Run) -> None:
    def other() -> None:
        also = start_run(project=run.project, kind="reward", creator=run.created_by, snapshot=run.snapshot)
        claimed = claim_run(also.pk)
        assert claimed is not None
        record_metrics(claimed, step=1, values={"loss": 1.0})

    async with socket(run_path(run), "alice") as page:
        await page.next_of("everything")
        await in_thread(other)
        assert await page.wire.receive_nothing(timeout=0.5)


async def test_what_a_client_sends_is_ignored(run: Run) -> None:
    async with socket(run_path(run), "dana") as page:
        await page.next_of("everything")
        for frame in (
            {"text": "{"},
            {"text": "[]"},
            {"text": "\ud800"},
            {"bytes": b"\xff\0"},
            {"bytes": b""},
        ):
            await page.wire.send_input({"type": "websocket.receive", **frame})
        await in_thread(record_metrics, run, step=9, values={"loss": 0.1})
        assert (await page.next_of("metrics"))["step"] == 9


@pytest.mark.parametrize("path", ["/", "/ws/", "/ws/p/", "/ws/p/a/b/c/", "/ws/p/%00/", "/nothing"])
async def test_an_unknown_path_is_refused(run: Run, path: str) -> None:
    async with socket(path, "alice") as page:
        assert not page.allowed


async def test_it_refuses_whoever_lacks_a_second_factor(run: Run) -> None:
    with override_settings(MFA="required"):
        async with socket(run_path(run), "alice") as page:
            assert not page.allowed


@pytest.mark.parametrize("who", ["bob", "charlie", None])
@pytest.mark.parametrize("kind", ["run", "project"])
async def test_it_refuses_annotators_outsiders_and_the_signed_out(
    run: Run, who: str | None, kind: str
) -> None:
    path = run_path(run) if kind == "run" else f"/ws/p/{run.project.slug}/"
    async with socket(path, who) as page:
        assert not page.allowed


async def test_it_refuses_pages_of_other_sites(run: Run) -> None:
    async with socket(run_path(run), "alice", origin=b"https://elsewhere.example") as page:
        assert not page.allowed


async def test_it_refuses_a_run_of_another_project(run: Run) -> None:
    def move() -> Project:
        return builders.project(User.objects.get(username="alice"), "Other")

    other = await in_thread(move)
    async with socket(f"/ws/p/{other.slug}/runs/{run.pk}/", "alice") as page:
        assert not page.allowed


@pytest.fixture
def queue(project: Project) -> Project:
    builders.items(project, 3)
    return project


async def test_a_project_sends_its_queue_at_once_and_after_a_judgment(queue: Project) -> None:
    bob = await in_thread(User.objects.get, username="bob")
    await in_thread(builders.judgment, queue, bob)
    async with socket(f"/ws/p/{queue.slug}/", "dana") as page:
        first = (await page.next_of("queue"))["queue"]
        await in_thread(builders.judgment, queue, bob)
        second = (await page.next_of("queue"))["queue"]
    assert (first["done"], first["total"]) == (1, 3)
    assert (second["done"], second["working"]) == (2, [{"name": "bob", "recent": 2}])


async def test_many_judgments_at_once_are_sent_as_one_event(
    queue: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await in_thread(User.objects.get, username="bob")
    a_second = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await (a_second if seconds == MIN_INTERVAL_S else asyncio.Event()).wait()

    monkeypatch.setattr(
        "annotation.consumers.asyncio", SimpleNamespace(sleep=sleep, create_task=asyncio.create_task)
    )
    async with socket(f"/ws/p/{queue.slug}/", "alice") as page:
        await page.next_of("queue")
        for _ in range(3):
            await in_thread(builders.judgment, queue, bob)
        # told at once, and after what was said of the judgments
        await in_thread(promote, await in_thread(queue.model_versions.get))  # type: ignore[attr-defined]
        await page.next_of("model")
        a_second.set()
        assert (await page.next_of("queue"))["queue"]["done"] == 3
        assert await page.wire.receive_nothing(timeout=0.5)


async def test_the_queue_is_sent_again_where_nothing_happens(
    queue: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotation.consumers.QUIET_INTERVAL_S", 0.01)
    async with socket(f"/ws/p/{queue.slug}/", "alice") as page:
        first, again = [(await page.next_of("queue"))["queue"] for _ in range(2)]
    assert first == again
    assert first["needs_people"]


async def test_a_project_forwards_other_events(queue: Project) -> None:
    version = await in_thread(queue.model_versions.get)  # type: ignore[attr-defined]
    async with socket(f"/ws/p/{queue.slug}/", "alice") as page:
        await page.next_of("queue")
        await in_thread(promote, version)
        assert (await page.next_of("model"))["kind"] == "model"


async def test_a_member_who_leaves_is_disconnected(queue: Project) -> None:
    bob = await in_thread(User.objects.get, username="bob")
    async with socket(f"/ws/p/{queue.slug}/", "dana") as page:
        await page.next_of("queue")
        await in_thread(queue.members.filter(user__username="dana").delete)
        await in_thread(builders.judgment, queue, bob)
        closed = await page.wire.receive_output(timeout=HANGS_S)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4403)
