"""The people of the demo world: they work through the same HTTP doors as everybody else.

Simulated annotators take items from the queue and judge them by the hidden taste and with noise; the lead imports,
freezes, starts runs and promotes what came out.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from training.demo.taste import WEIGHTS, Annotator


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why."""


class Door:
    """The API, as one person sees it."""

    def __init__(self, address: str, key: str) -> None:
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {key}"
        self._api = f"{address}/api/v1"

    def get(self, path: str) -> Any:
        return self._answer(self._session.get(f"{self._api}{path}", timeout=60))

    def pages(self, path: str) -> Iterator[Any]:
        """The rows of a list that comes in pages."""
        address: str | None = f"{self._api}{path}"
        while address:
            page = self._answer(self._session.get(address, timeout=60))
            yield from page["results"]
            address = page["next"]

    def post(self, path: str, body: object = None) -> Any:
        """The answer, or None where it has no content."""
        return self._answer(self._session.post(f"{self._api}{path}", json=body, timeout=120))

    def send_lines(self, path: str, lines: Iterable[bytes]) -> Any:
        headers = {"Content-Type": "application/x-ndjson"}
        return self._answer(
            self._session.post(f"{self._api}{path}", data=b"".join(lines), headers=headers, timeout=120)
        )

    @staticmethod
    def _answer(response: requests.Response) -> Any:
        if not response.ok:
            raise DemoError(
                f"{response.request.method} {response.url} answered {response.status_code}: {response.text[:500]}"
            )
        return response.json() if response.content else None


class Crowd:
    """Simulated annotators at work, each at a screen of their own."""

    def __init__(
        self,
        address: str,
        project: str,
        keys: dict[str, str],
        seed: int,
        cares: Collection[str] = tuple(WEIGHTS),
    ) -> None:
        self._project = project
        self._people = [
            (Door(address, key), Annotator(seed=seed * 1000 + number, cares=cares))
            for number, key in enumerate(keys.values())
        ]

    def work(self, wanted: int, tell: Callable[[int], None]) -> int:
        """Judge `wanted` items together, or as many as the queue holds for them. Returns how many were judged."""
        places = threading.Semaphore(wanted)
        with ThreadPoolExecutor(len(self._people)) as pool:
            return sum(pool.map(lambda person: self._shift(*person, places=places, tell=tell), self._people))

    def _shift(
        self, door: Door, annotator: Annotator, *, places: threading.Semaphore, tell: Callable[[int], None]
    ) -> int:
        done = 0
        while places.acquire(blocking=False):
            item = door.post(f"/projects/{self._project}/next/")
            if item is None:
                break
            door.post(f"/projects/{self._project}/judgments/", judge(item, annotator))
            done += 1
            tell(1)
        return done


def judge(item: dict[str, Any], annotator: Annotator) -> dict[str, Any]:
    """What the annotator says of an item: a choice with a degree of two answers, a ranking of more."""
    texts = [answer["text"] for answer in item["answers"]]
    degree = None
    if len(texts) == 2:
        winner, degree = annotator.choose(item["prompt"], *texts)
        ranks = [1, 2] if winner == 0 else [2, 1]
    else:
        ranks = annotator.rank(item["prompt"], texts)
    ids = [answer["id"] for answer in item["answers"]]
    return {
        "ticket": item["ticket"],
        "ranks": dict(zip(map(str, ids), ranks, strict=True)),
        "degree": degree,
        "idempotency_key": str(uuid.uuid4()),
    }


class Lead:
    """The lead's part, by API."""

    def __init__(self, address: str, project: str, key: str) -> None:
        self._door = Door(address, key)
        self._here = f"/projects/{project}"

    def import_prompts(self, lines: Iterable[bytes], project: str = "") -> dict[str, Any]:
        """Into its own project, or another that it leads."""
        here = f"/projects/{project}" if project else self._here
        return self._door.send_lines(f"{here}/prompts/", lines)

    def start(self, kind: str, **body: Any) -> int:
        return int(self._door.post(f"{self._here}/runs/", {"kind": kind, **body})["id"])

    def resume(self, run: int) -> None:
        self._door.post(f"/runs/{run}/resume/")

    def promote(self, model: int) -> None:
        self._door.post(f"/models/{model}/promote/")

    def loop(self, name: str, **body: Any) -> int:
        """The loop of that name, set up where it is missing. Returns its id."""
        known = {loop["name"]: loop["id"] for loop in self._door.get(f"{self._here}/loops/")}
        return int(known.get(name) or self._door.post(f"{self._here}/loops/", {"name": name, **body})["id"])

    def rounds(self, loop: int) -> list[dict[str, Any]]:
        """Oldest first."""
        return list(self._door.pages(f"/loops/{loop}/rounds/"))[::-1]

    def begin(self, loop: int) -> dict[str, Any]:
        return dict(self._door.post(f"/loops/{loop}/rounds/"))

    def round(self, pk: int) -> dict[str, Any]:
        return dict(self._door.get(f"/rounds/{pk}/"))

    def act(self, round: int, verb: str, **body: Any) -> dict[str, Any]:
        return dict(self._door.post(f"/rounds/{round}/{verb}/", body))

    def run(self, pk: int) -> dict[str, Any]:
        return dict(self._door.get(f"/runs/{pk}/"))

    def follow(self, run: int) -> Iterator[dict[str, Any]]:
        """The run's state, again and again until it is over.

        Raises:
            DemoError: it failed or was cancelled.
        """
        while True:
            state = self._door.get(f"/runs/{run}/")
            if state["state"] in ("failed", "cancelled"):
                raise DemoError(
                    f"Run {run} ({state['kind']}) {state['state']}: {state['error'] or 'by someone'}"
                )
            yield state
            if state["state"] == "done":
                return
            time.sleep(0.5)
