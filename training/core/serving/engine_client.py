"""Requests to a serving engine, which is waited for while it does not answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx2

from training.core.errors import BadInput
from training.core.http_client import AnswerTooLarge, backoff, request_json, retry_after
from training.server_protocol import KEY_VARIABLE, RETRIED_STATUSES, SERVER_VARIABLE, error_message, excerpt

UNAVAILABLE = RETRIED_STATUSES | {502, 503, 504}
MIN_REQUEST_S = 600.0
"""What one request may take at least, however short an outage may be: its responses may be long."""


class Refused(Exception):
    """The engine does not do what was asked. message: its reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message.rstrip('.')} ({status})")
        self.status, self.message = status, message


class VersionMissing(Exception):
    """The engine does not have a version that it was sent: it was started again."""


class Outage:
    """For how long a server has not answered. At its first failure `on_start` is called with a sentence."""

    def __init__(self, server: str, wait_s: float, on_start: Callable[[str], None]) -> None:
        self.server, self.wait_s, self.on_start = server, wait_s, on_start
        self._since: float | None = None

    def report(self, failure: str) -> float:
        """The seconds that are left to wait. Raises BadInput if there are none."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            self.on_start(
                f"The sampler server {self.server} is not available ({failure}); waiting for it for"
                f" {self.wait_s / 60:g} minutes."
            )
        left = self._since + self.wait_s - now
        if left <= 0:
            raise server_error(
                self.server,
                f"was not available for sampler_wait_minutes = {self.wait_s / 60:g}; the last time {failure}. Start it and"
                " resume the run, which continues from its checkpoint",
                setting="sampler_wait_minutes",
            )
        return left

    def end(self) -> None:
        self._since = None


class EngineClient:
    """JSON requests below a server's base URL."""

    def __init__(self, http: httpx2.AsyncClient, outage: Outage) -> None:
        self.http, self.outage = http, outage

    async def request(
        self, path: str, fields: dict[str, Any] | None = None, *, retries_500: bool = False
    ) -> Any:
        """The answer to a POST of `fields`, or without any to a GET: what it holds as JSON, or its text.

        Raises Refused for an answer that is an error; BadInput if the server was waited for in vain.
        """
        outage, failures = self.outage, 0
        limit = max(outage.wait_s, MIN_REQUEST_S)
        while True:
            delay = None
            try:
                async with asyncio.timeout(limit):
                    status, headers, body = await request_json(
                        self.http, outage.server.rstrip("/") + path, fields
                    )
            except TimeoutError:
                failure = f"{path} took longer than {limit / 60:g} minutes"
            except AnswerTooLarge as error:
                raise server_error(outage.server, str(error)) from None
            except httpx2.InvalidURL as error:
                raise server_error(outage.server, f"cannot be reached: {error}") from None
            except httpx2.RequestError as error:
                failure = str(error) or type(error).__name__
            else:
                if status not in UNAVAILABLE and not (retries_500 and status == 500):
                    outage.end()
                    return self._answer(status, body)
                failure, delay = f"it answered {status}: {error_message(body)}", retry_after(headers)
            failures += 1
            left = outage.report(failure)
            await asyncio.sleep(min(backoff(failures) if delay is None else delay, left))

    def _answer(self, status: int, body: bytes) -> Any:
        if status in (401, 403):
            raise server_error(
                self.outage.server,
                f"refuses the API key ({status}): set {KEY_VARIABLE} in the worker's environment, and {SERVER_VARIABLE} to"
                " the base URL that it belongs to",
            )
        if not 200 <= status < 300:
            raise Refused(status, error_message(body))
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return excerpt(body)


def server_error(server: str, predicate: str, setting: str = "sampler_server") -> BadInput:
    return BadInput(f"The sampler server {server} {predicate.rstrip('.')}.", setting=setting)
