"""The simulated annotators at work: they take items from the queue over the API and judge them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from training.demo.annotators import Annotator
from training.demo.http_client import ApiClient


class Crowd:
    """Simulated annotators of one project, each in a thread of its own."""

    def __init__(
        self,
        address: str,
        project: str,
        tokens: Sequence[str],
        seed: int,
        weights: Mapping[str, float],
        kind: type[Annotator] = Annotator,
    ) -> None:
        self.address, self._project = address, project
        self._annotators = [
            (ApiClient(address, token), kind(seed=seed * 1000 + number, weights=weights))
            for number, token in enumerate(tokens)
        ]

    def work(self, limit: int, report: Callable[[int], None]) -> int:
        """Judge `limit` items, or as many as the queue has. Returns how many were judged."""
        budget = threading.Semaphore(limit)
        with ThreadPoolExecutor(len(self._annotators)) as pool:
            return sum(
                pool.map(lambda pair: self._work_alone(*pair, budget=budget, report=report), self._annotators)
            )

    def _work_alone(
        self,
        client: ApiClient,
        annotator: Annotator,
        *,
        budget: threading.Semaphore,
        report: Callable[[int], None],
    ) -> int:
        done = 0
        while budget.acquire(blocking=False):
            item = client.post(f"/projects/{self._project}/next/")
            if item is None:
                break
            client.post(f"/projects/{self._project}/judgments/", judge(item, annotator))
            done += 1
            report(1)
        return done


def judge(item: dict[str, Any], annotator: Annotator) -> dict[str, Any]:
    """The annotator's judgment of an item, as the API takes it: a comparison of two responses, a ranking of more."""
    texts = [answer["text"] for answer in item["answers"]]
    degree = None
    if len(texts) == 2:
        winner, degree = annotator.choose(item["prompt"], *texts)
        ranks = [1, 2] if winner == 0 else [2, 1]
    else:
        ranks = annotator.rank(item["prompt"], texts)
    return {
        "ticket": item["ticket"],
        "ranks": ranks,
        "degree": degree,
        "idempotency_key": str(uuid.uuid4()),
    }
