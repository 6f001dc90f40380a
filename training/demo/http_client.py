"""The demo's HTTP client: its users call the site's API as everybody else does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import requests


class DemoError(RuntimeError):
    """The demo cannot continue; the message says why."""


class ApiClient:
    """A client of the API with one user's token."""

    def __init__(self, address: str, token: str) -> None:
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._api = f"{address}/api/v1"

    def get(self, path: str) -> Any:
        return self._body(self._session.get(f"{self._api}{path}", timeout=60))

    def pages(self, path: str) -> Iterator[Any]:
        """The rows of a paginated list."""
        address: str | None = f"{self._api}{path}"
        while address:
            page = self._body(self._session.get(address, timeout=60))
            yield from page["results"]
            address = page["next"]

    def post(self, path: str, body: object = None) -> Any:
        """The response's JSON; None if it has no content."""
        return self._body(self._session.post(f"{self._api}{path}", json=body, timeout=120))

    def send_lines(self, path: str, lines: Iterable[bytes]) -> Any:
        headers = {"Content-Type": "application/x-ndjson"}
        return self._body(
            self._session.post(f"{self._api}{path}", data=b"".join(lines), headers=headers, timeout=120)
        )

    @staticmethod
    def _body(response: requests.Response) -> Any:
        if not response.ok:
            raise DemoError(
                f"{response.request.method} {response.url} answered {response.status_code}: {response.text[:500]}"
            )
        return response.json() if response.content else None
