"""Eight people chat at once with the demo's policy, and one ranks beside them: `make bench-chats`, after `make demo SERVE=0`.

Measured: how long the first words of both answers take from the send, how long each piece takes from Redis to the reader (the
id of an event is the millisecond at which it was written, by the same clock) or from when the reader's stream was open, if that
was later, and whether ranking pages get slower. No peer: none of them answers live and trains from the choices.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

import django
import requests

PEOPLE, SECONDS, ALONE_S, PORT = 8, 60.0, 20.0, 8097
MAX_MESSAGES = 15
"""Of each person: the site takes 120 within an hour."""


@dataclass
class Measured:
    """Seconds."""

    first: list[float] = field(default_factory=list)
    pieces: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def events(response: requests.Response) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The id, name and data of each server-sent event. Read by chunks: `iter_lines` would take a millisecond for each piece."""
    unread = b""
    for chunk in response.raw.read_chunked():
        *blocks, unread = (unread + chunk).split(b"\n\n")
        for block in blocks:
            fields = dict(
                line.split(": ", 1) for line in block.decode().splitlines() if not line.startswith(":")
            )
            if fields:
                yield fields.get("id", ""), fields.get("event", ""), json.loads(fields.get("data", "{}"))


class Chatter:
    """A person who chats over the API."""

    def __init__(self, address: str, token: str, seed: int, measured: Measured) -> None:
        from training.demo.chats import messages_of

        self.api, self.measured, self.messages = (
            f"{address}/api/v1/projects/demo/chats",
            measured,
            messages_of(seed),
        )
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def post(self, path: str, body: dict[str, Any]) -> Any:
        response = self.session.post(f"{self.api}{path}", json=body, timeout=60)
        response.raise_for_status()
        return response.json()

    def work(self, until: float) -> None:
        for _ in range(MAX_MESSAGES):
            if time.monotonic() > until:
                break
            self.chat()

    def chat(self) -> None:
        """A chat of one message."""
        sent = time.monotonic()
        turn = self.post("/", {"text": next(self.messages), "idempotency_key": str(uuid.uuid4())})
        place = f"/{turn['chat']}/turns/{turn['id']}/"
        seen: set[str] = set()
        first, pieces, last, listens_since = None, [], "", None
        with self.session.get(
            f"{self.api}{place}stream/", headers={"Accept": "text/event-stream"}, stream=True, timeout=120
        ) as response:
            for event_id, last, data in events(response):
                listens_since = listens_since or time.time()
                if last == "piece":
                    written = int(event_id.partition("-")[0]) / 1000
                    pieces.append(time.time() - max(written, listens_since))
                    seen.add(data["side"])
                    if first is None and len(seen) == 2:
                        first = time.monotonic() - sent
        whole = time.monotonic() - sent
        turn = self.session.get(f"{self.api}{place}", timeout=60).json()
        if turn["state"] == "judging":
            body = {"ticket": turn["ticket"], "ranks": [1, 2], "degree": "slightly"}
            self.post(f"{place}judgment/", body | {"idempotency_key": str(uuid.uuid4())})
        self.post(f"/{turn['chat']}/end/", {})
        with self.measured.lock:
            self.measured.failed += last != "end" or turn["state"] not in ("judging", "same")
            self.measured.first += [first] if first is not None else []
            self.measured.pieces += pieces
            self.measured.whole.append(whole)


def page_times(address: str, cookies: dict[str, str], stop: threading.Event) -> list[float]:
    """How long the ranking page takes, again and again."""
    found, session = [], requests.Session()
    session.cookies.update(cookies)
    while not stop.wait(0.1):
        started = time.monotonic()
        session.get(f"{address}/p/demo/work/", timeout=60).raise_for_status()
        found.append(time.monotonic() - started)
    return found


def p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


def measure() -> dict[str, Any]:
    from django.conf import settings
    from django.test import Client

    from annotation.models import User
    from config.processes import site
    from training.demo import projects

    project = projects.Project.objects.get(slug=projects.SLUG)
    projects.allow_chats(project)
    names = [*projects.SIMULATED_ANNOTATORS, *projects.PEOPLE][:PEOPLE]
    measured = Measured()
    with site(PORT) as address, ThreadPoolExecutor(PEOPLE + 1) as pool:
        client = Client()
        client.force_login(
            User.objects.get(username="annotator"), backend="annotation.backends.AccountBackend"
        )
        cookies = {settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value}
        people = [
            Chatter(address, projects.issue_token(name), 9000 + number, measured)
            for number, name in enumerate(names)
        ]
        cold = time.monotonic()
        people[0].chat()
        cold = time.monotonic() - cold
        measured.first, measured.pieces, measured.whole = [], [], []
        alone = run_beside(pool, address, cookies, lambda: time.sleep(ALONE_S))
        until = time.monotonic() + SECONDS
        beside = run_beside(
            pool, address, cookies, lambda: list(pool.map(lambda person: person.work(until), people))
        )
    return {
        "people": PEOPLE,
        "messages": len(measured.whole),
        "failed": measured.failed,
        "first_chat_s": round(cold, 2),
        "first_words_s": {"median": round(median(measured.first), 3), "p95": round(p95(measured.first), 3)},
        "whole_s": {"median": round(median(measured.whole), 2), "p95": round(p95(measured.whole), 2)},
        "piece_ms": {
            "median": round(1000 * median(measured.pieces), 1),
            "p95": round(1000 * p95(measured.pieces), 1),
        },
        "page_ms_alone": {"median": round(1000 * median(alone), 1), "p95": round(1000 * p95(alone), 1)},
        "page_ms_beside": {"median": round(1000 * median(beside), 1), "p95": round(1000 * p95(beside), 1)},
    }


def run_beside(pool: ThreadPoolExecutor, address: str, cookies: dict[str, str], work: Any) -> list[float]:
    """The times of the ranking page while `work` is done."""
    stop = threading.Event()
    pages = pool.submit(page_times, address, cookies, stop)
    try:
        work()
    finally:
        stop.set()
    return pages.result()


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from benchmarks.results import about, save, write_report

    found = measure()
    save("chats", {"about": about({}), "figures": found})
    write_report()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
