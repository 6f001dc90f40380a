"""The simulated annotators in chats: they write messages over the API and choose between the two answers."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from training.demo import language
from training.demo.annotators import Annotator
from training.demo.crowd import Crowd, judge
from training.demo.http_client import ApiClient, DemoError

MESSAGES_PER_CHAT = 2
POLL_S = 0.2


class ChatCrowd(Crowd):
    """Simulated annotators of one project, who chat. Each has messages of their own."""

    def __init__(
        self, address: str, project: str, tokens: Sequence[str], seed: int, weights: Mapping[str, float]
    ) -> None:
        super().__init__(address, project, tokens, seed, weights)
        self._path = f"/projects/{project}/chats"
        self._messages = {
            annotator.seed: messages_of(annotator.seed + 100) for _, annotator in self._annotators
        }

    def _work_alone(
        self,
        client: ApiClient,
        annotator: Annotator,
        *,
        budget: threading.Semaphore,
        report: Callable[[int], None],
    ) -> int:
        done, turn = 0, None
        while budget.acquire(blocking=False):
            turn = self._send(client, turn, next(self._messages[annotator.seed]))
            if turn["state"] == "same":  # there is nothing to choose
                budget.release()
                continue
            prompt = [{"role": "user", "content": turn["text"]}]
            place = f"{self._path}/{turn['chat']}/turns/{turn['id']}/judgment/"
            client.post(place, judge(turn | {"prompt": prompt}, annotator))
            done += 1
            report(1)
        if turn is not None:
            client.post(f"{self._path}/{turn['chat']}/end/")
        return done

    def _send(self, client: ApiClient, after: dict[str, Any] | None, text: str) -> dict[str, Any]:
        """The turn of a message with both answers. It goes on in the chat of the turn before it, or begins another chat.

        Raises:
            DemoError: it was not answered.
        """
        body: dict[str, Any] = {"text": text, "idempotency_key": str(uuid.uuid4())}
        if after is not None and after["number"] < MESSAGES_PER_CHAT:
            turn = client.post(f"{self._path}/{after['chat']}/turns/", body | {"after": after["id"]})
        else:
            if after is not None:
                client.post(f"{self._path}/{after['chat']}/end/")
            turn = client.post(f"{self._path}/", body)
        while turn["state"] in ("waiting", "answering"):
            time.sleep(POLL_S)
            turn = client.get(f"{self._path}/{turn['chat']}/turns/{turn['id']}/")
        if turn["state"] == "failed":
            raise DemoError(f"A message of a chat was not answered: {turn['error']}")
        return dict(turn)


def messages_of(seed: int) -> Iterator[str]:
    """Messages that the first policy has never seen."""
    return (exchange.prompt for exchange in language.exchanges(seed) if language.is_held_out(exchange.prompt))
