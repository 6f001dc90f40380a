"""Eight people chat at once with the demo's policy, and one ranks beside them: `make bench-chats`, after `make demo SERVE=0`.
First they choose at once what they prefer, then after a while, as people who read.

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
from functools import partial
from statistics import median, quantiles
from typing import Any

import django
import requests

PEOPLE, SECONDS, ALONE_S, PORT = 8, 60.0, 20.0, 8097
MAX_MESSAGES = 15
"""Of each person and pace: the site takes 120 within an hour."""
READING_S = (0.0, 3.0)


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

    def __init__(self, address: str, token: str, seed: int) -> None:
        from training.demo.chats import messages_of

        self.api, self.messages = f"{address}/api/v1/projects/demo/chats", messages_of(seed)
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def post(self, path: str, body: dict[str, Any]) -> Any:
        response = self.session.post(f"{self.api}{path}", json=body, timeout=60)
        response.raise_for_status()
        return response.json()

    def work(self, measured: Measured, reading_s: float, until: float) -> None:
        for _ in range(MAX_MESSAGES):
            if time.monotonic() > until:
                break
            self.chat(measured, reading_s)

    def chat(self, measured: Measured, reading_s: float = 0.0) -> None:
        """A chat of one message. reading_s: between its answers and the choice."""
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
        time.sleep(reading_s)
        if turn["state"] == "judging":
            body = {"ticket": turn["ticket"], "ranks": [1, 2], "degree": "slightly"}
            self.post(f"{place}judgment/", body | {"idempotency_key": str(uuid.uuid4())})
        self.post(f"/{turn['chat']}/end/", {})
        with measured.lock:
            measured.failed += last != "end" or turn["state"] not in ("judging", "same")
            measured.first += [first] if first is not None else []
            measured.pieces += pieces
            measured.whole.append(whole)


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


def chat_together(
    pool: ThreadPoolExecutor, people: list[Chatter], measured: Measured, reading_s: float, until: float
) -> None:
    list(pool.map(lambda person: person.work(measured, reading_s, until), people))


def spread(seconds: list[float], scale: float = 1) -> dict[str, float]:
    return {
        "median": float(f"{scale * median(seconds):.3g}"),
        "p95": float(f"{scale * p95(seconds):.3g}"),
    }


def figures(measured: Measured, reading_s: float) -> dict[str, Any]:
    return {
        "reading_s": reading_s,
        "messages": len(measured.whole),
        "failed": measured.failed,
        "first_words_s": spread(measured.first),
        "whole_s": spread(measured.whole),
        "piece_ms": spread(measured.pieces, 1000),
    }


def measure() -> dict[str, Any]:
    from django.conf import settings
    from django.test import Client

    from annotation.models import User
    from config.processes import site
    from training.demo import projects

    project = projects.Project.objects.get(slug=projects.SLUG)
    projects.allow_chats(project)
    names = [*projects.SIMULATED_ANNOTATORS, *projects.PEOPLE][:PEOPLE]
    paces = []
    with site(PORT) as address, ThreadPoolExecutor(PEOPLE + 1) as pool:
        client = Client()
        client.force_login(
            User.objects.get(username="annotator"), backend="annotation.backends.AccountBackend"
        )
        cookies = {settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value}
        people = [
            Chatter(address, projects.issue_token(name), 9000 + number) for number, name in enumerate(names)
        ]
        cold = time.monotonic()
        people[0].chat(Measured())
        cold = time.monotonic() - cold
        alone = run_beside(pool, address, cookies, lambda: time.sleep(ALONE_S))
        for reading_s in READING_S:
            measured, until = Measured(), time.monotonic() + SECONDS
            work = partial(chat_together, pool, people, measured, reading_s, until)
            beside = run_beside(pool, address, cookies, work)
            paces.append(figures(measured, reading_s) | {"page_ms_beside": spread(beside, 1000)})
    return {
        "people": PEOPLE,
        "first_chat_s": round(cold, 2),
        "page_ms_alone": spread(alone, 1000),
        "paces": paces,
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
