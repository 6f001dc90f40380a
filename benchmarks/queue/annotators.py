"""People at work, as their browsers are: one connection each that is kept, cookies, forms.

A cycle is a submit and the next item. A process of its own runs them, on another core than the server's.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

PASSWORD = "correct horse battery"
HTMX = {"HX-Request": "true"}


class WrongAnswerError(Exception):
    """The site answered with something else than the next item."""


class Browser:
    """A kept connection and a cookie jar."""

    def __init__(self, port: int) -> None:
        self.port, self.connection = port, http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.cookies: dict[str, str] = {}

    def send(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        head = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} | dict(headers or {})
        try:
            self.connection.request(method, path, body, head)
            answer = self.connection.getresponse()
        except OSError:
            self.connection.close()  # and opens again at the next request
            raise
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, answer.read().decode()

    def form(self, path: str, fields: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[int, str]:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.send("POST", path, urllib.parse.urlencode(fields), kind | dict(headers))


class Annotator(Protocol):
    """An annotator at one site. `item` is on the screen, None once nothing is left; `submitted_items` were judged so far."""

    browser: Browser
    item: int | str | None
    submitted_items: list[int | str]

    def start(self) -> None: ...
    def cycle(self) -> None: ...


class PalateAnnotator:
    """Signs in on the page, opens the project's screen, and submits its form as htmx does."""

    def __init__(self, port: int, username: str, password: str, path: str) -> None:
        self.browser, self.username, self.password, self.path = Browser(port), username, password, path
        self.item: int | str | None = None
        self.submitted_items: list[int | str] = []

    def start(self) -> None:
        _, page = self.browser.send("GET", "/sign-in/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token
        fields = {"csrfmiddlewaretoken": token[1], "login": self.username, "password": self.password}
        status, _ = self.browser.form("/sign-in/", fields, {})
        if status != 302:
            raise WrongAnswerError(f"sign-in: {status}")
        self._read(*self.browser.send("GET", self.path))

    def cycle(self) -> None:
        ranks = {name: n for n, name in enumerate(self.fields, start=1)}
        fields = {"ticket": self.ticket, "key": uuid.uuid4(), **ranks}
        headers = HTMX | {"X-CSRFToken": self.browser.cookies["csrftoken"]}
        self._read(*self.browser.form(self.path, fields, headers))

    def _read(self, status: int, page: str) -> None:
        if status != 200:
            raise WrongAnswerError(f"{status}: {page[:200]}")
        ticket = re.search(r'name="ticket" value="([^"]+)"', page)
        if ticket is None:
            self.item = None
            return
        self.ticket = ticket[1]
        self.fields = list(dict.fromkeys(re.findall(r'name="(rank-[A-Z])"', page)))
        item = re.search(r'data-item="([^"]+)"', page)
        if item is None or len(self.fields) != 4:
            raise WrongAnswerError(f"{len(self.fields)} answers on the page")
        self.item = item[1]


class BareAnnotator:
    """The floor's page: the item's number and its slot stand in the answer as JSON."""

    def __init__(self, port: int, first: str, path: str) -> None:
        self.browser, self.first, self.path = Browser(port), first, path
        self.item: int | str | None = None
        self.submitted_items: list[int | str] = []

    def start(self) -> None:
        self._read(*self.browser.send("GET", self.first))

    def cycle(self) -> None:
        headers = {"X-CSRFToken": self.browser.cookies.get("csrftoken", "")}
        self._read(*self.browser.form(self.path, {"slot": self.slot, "key": uuid.uuid4()}, headers))

    def _read(self, status: int, page: str) -> None:
        if status != 200:
            raise WrongAnswerError(f"{status}: {page[:200]}")
        answer = json.loads(page)
        self.item, self.slot = answer["item"], answer["slot"]


class LabelStudioAnnotator:
    """Signs in on its page, takes the next task of the project and posts an annotation, as its editor does."""

    def __init__(self, port: int, username: str, password: str, project: int) -> None:
        self.browser, self.username, self.password, self.project = Browser(port), username, password, project
        self.item: int | str | None = None
        self.submitted_items: list[int | str] = []

    def start(self) -> None:
        _, page = self.browser.send("GET", "/user/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token
        fields = {"csrfmiddlewaretoken": token[1], "email": self.username, "password": self.password}
        status, answer = self.browser.form("/user/login/", fields, {})
        if status != 302:
            raise WrongAnswerError(f"sign-in: {status}: {answer[:300]}")
        self._next()

    def cycle(self) -> None:
        task = self.item
        result = [
            {
                "type": "ranker",
                "from_name": "rank",
                "to_name": "answers",
                "value": {"ranker": {"rank": ["a", "b", "c", "d"]}},
            }
        ]
        headers = {
            "Content-Type": "application/json",
            "X-CSRFToken": self.browser.cookies.get("csrftoken", ""),
        }
        body = json.dumps({"result": result, "lead_time": 3.0})
        status, page = self.browser.send(
            "POST", f"/api/tasks/{task}/annotations?project={self.project}", body, headers
        )
        if status != 201:
            raise WrongAnswerError(f"{status}: {page[:200]}")
        self._next()

    def _next(self) -> None:
        headers = {
            "Content-Type": "application/json",
            "X-CSRFToken": self.browser.cookies.get("csrftoken", ""),
        }
        path = f"/api/dm/actions?id=next_task&project={self.project}"
        status, page = self.browser.send("POST", path, "{}", headers)
        if status == 404:
            self.item = None
            return
        if status != 200:
            raise WrongAnswerError(f"{status}: {page[:200]}")
        self.item = int(json.loads(page)["id"])


@dataclass
class Shift:
    """The result of a work period: seconds of each cycle, and errors."""

    seconds: float = 0.0
    cycles: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def work(people: list[Annotator], seconds: float) -> Shift:
    """Everybody at once for `seconds`, as fast as the site lets them. They have started before."""
    for person in people:
        person.browser.connection.close()  # it opens again: a server hangs up on who was idle
    shift, end, began = Shift(), time.perf_counter() + seconds, time.perf_counter()

    def work_alone(person: Annotator) -> None:
        while time.perf_counter() < end and person.item is not None:
            item, start = person.item, time.perf_counter()
            try:
                person.cycle()
            except Exception as error:  # noqa: BLE001 - it is counted
                shift.errors.append(f"{type(error).__name__}: {error}")
                return
            shift.cycles.append(time.perf_counter() - start)
            person.submitted_items.append(item)

    threads = [threading.Thread(target=work_alone, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shift.seconds = time.perf_counter() - began
    return shift
