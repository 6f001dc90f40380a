"""Live chats: an annotator's messages, their two answers, and the choice."""

from __future__ import annotations

import json
import time
import uuid
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from palate_client.errors import PalateError
from palate_client.labeling import Judgment
from palate_client.resources import Json, Resources

ATTEMPTS = 5


class Chats(Resources):
    """The methods of live chats. A `turn` is a message as these methods return it, with `id`, `chat`, `state`, `answers`,
    `goes_on` (the answer from which the chat goes on) and more."""

    def chats(self, slug: str) -> list[Json]:
        """Your own, newest first."""
        return list(self._pages(f"/projects/{slug}/chats/"))

    def all_chats(self, slug: str) -> list[Json]:
        """Those of all annotators with their counts, newest first. For leads."""
        return list(self._pages(f"/projects/{slug}/chats/all/"))

    def chat(self, slug: str, id: int) -> Json:
        """One of your chats with its `turns`."""
        return self._json("GET", f"/projects/{slug}/chats/{id}/")

    def start_chat(self, slug: str, text: str) -> Json:
        """Send the first message of a chat. Returns its turn."""
        return self._json("POST", f"/projects/{slug}/chats/", _keyed(text=text))

    def send_message(self, slug: str, chat: int, text: str, *, after: Json | None = None) -> Json:
        """Send the next message: after a turn that was judged, or at the beginning. Where there is one already, it begins a
        branch. Returns its turn."""
        body = _keyed(text=text, after=after and after["id"])
        return self._json("POST", f"/projects/{slug}/chats/{chat}/turns/", body)

    def turn(self, slug: str, chat: int, id: int) -> Json:
        """A message as it is now."""
        return self._json("GET", f"/projects/{slug}/chats/{chat}/turns/{id}/")

    def wait_for_answers(self, slug: str, turn: Json, *, every_s: float = 1.0) -> Json:
        """The turn once both of its answers are complete.

        Raises:
            PalateError: they could not be written; `retry_message` asks for them again.
        """
        while turn["state"] in ("waiting", "answering"):
            time.sleep(every_s)
            turn = self.turn(slug, turn["chat"], turn["id"])
        if turn["state"] == "failed":
            raise PalateError(0, turn["error"])
        return turn

    def stream_answers(self, slug: str, turn: Json) -> Iterator[Json]:
        """The answers while they are written: `{"event": "piece", "side": "a", "offset": 0, "text": …}`, where a and b are the
        answers A and B; `restart`, after which an answer begins anew; and at last `end` or `failed`.

        After a broken connection it goes on where it was.

        Raises:
            PalateError: the site cannot be reached any more.
        """
        last, attempt = "", 0
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
            try:
                for event in _events(self._lines_of(_place(slug, turn, "stream"), headers=headers)):
                    last, attempt = event.pop("id") or last, 0
                    yield event
                    if event["event"] in ("end", "failed"):
                        return
            except PalateError as error:
                if error.status or attempt + 1 == ATTEMPTS:
                    raise
            attempt += 1
            if attempt == ATTEMPTS:
                raise PalateError(0, "The stream of answers ended early.")
            time.sleep(min(30, 2**attempt) / 4)

    def judge_turn(self, slug: str, turn: Json, judgment: Judgment) -> Json:
        """Choose between the two answers of a turn whose `state` is `judging`. Returns the stored judgment."""
        return self._json("POST", _place(slug, turn, "judgment"), judgment.body(turn["ticket"]))

    def write_answer(self, slug: str, turn: Json, text: str) -> Json:
        """Write a better answer than both, after the choice. Returns the stored judgment."""
        return self._json("POST", _place(slug, turn, "answer"), _keyed(text=text))

    def drop_message(self, slug: str, turn: Json) -> Json:
        """Take a message back that was not judged yet. Returns its turn."""
        return self._json("POST", _place(slug, turn, "drop"))

    def retry_message(self, slug: str, turn: Json) -> Json:
        """Have a message answered that could not be answered before. Returns its turn."""
        return self._json("POST", _place(slug, turn, "retry"))

    def end_chat(self, slug: str, id: int) -> Json:
        """End a chat. Returns it."""
        return self._json("POST", f"/projects/{slug}/chats/{id}/end/")

    @abstractmethod
    def _lines_of(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[bytes]:
        """The lines of a response while they arrive."""


def _place(slug: str, turn: Json, verb: str) -> str:
    return f"/projects/{slug}/chats/{turn['chat']}/turns/{turn['id']}/{verb}/"


def _keyed(**body: Any) -> Json:
    """A body with a key, so that it counts once however often it is sent."""
    return body | {"idempotency_key": str(uuid.uuid4())}


def _events(lines: Iterable[bytes]) -> Iterator[Json]:
    """The server-sent events in a response's lines: their data, with `event` and `id` (empty if it has none)."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\r").partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif not line.strip():
            if "event" in fields:
                event = json.loads(fields.get("data") or "{}")
                yield event | {"event": fields["event"], "id": fields.get("id", "")}
            fields = {}
