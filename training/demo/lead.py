"""The demo's lead: imports prompts, starts runs and rounds, and promotes models, over the API."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from training.demo.http_client import ApiClient, DemoError


class Lead:
    """The lead's calls of the API, for one project."""

    def __init__(self, address: str, project: str, token: str) -> None:
        self._client = ApiClient(address, token)
        self._path = f"/projects/{project}"

    def import_prompts(self, lines: Iterable[bytes], project: str = "") -> dict[str, Any]:
        """Import lines of JSON into the lead's project, or into the other one named."""
        path = f"/projects/{project}" if project else self._path
        return self._client.send_lines(f"{path}/prompts/", lines)

    def write_constitution(self, principles: list[dict[str, Any]]) -> None:
        self._client.post(f"{self._path}/constitution/", {"principles": principles})

    def start_run(self, kind: str, **body: Any) -> int:
        return int(self._client.post(f"{self._path}/runs/", {"kind": kind, **body})["id"])

    def resume_run(self, run: int) -> None:
        self._client.post(f"/runs/{run}/resume/")

    def promote(self, model: int) -> None:
        self._client.post(f"/models/{model}/promote/")

    def loop(self, name: str, **body: Any) -> int:
        """The id of the loop of that name, which is created if it is missing."""
        known = {loop["name"]: loop["id"] for loop in self._client.get(f"{self._path}/loops/")}
        return int(known.get(name) or self._client.post(f"{self._path}/loops/", {"name": name, **body})["id"])

    def rounds(self, loop: int) -> list[dict[str, Any]]:
        """Oldest first."""
        return list(self._client.pages(f"/loops/{loop}/rounds/"))[::-1]

    def start_round(self, loop: int) -> dict[str, Any]:
        return dict(self._client.post(f"/loops/{loop}/rounds/"))

    def round(self, pk: int) -> dict[str, Any]:
        return dict(self._client.get(f"/rounds/{pk}/"))

    def act(self, round: int, verb: str, **body: Any) -> dict[str, Any]:
        return dict(self._client.post(f"/rounds/{round}/{verb}/", body))

    def run(self, pk: int) -> dict[str, Any]:
        return dict(self._client.get(f"/runs/{pk}/"))

    def follow_run(self, run: int) -> Iterator[dict[str, Any]]:
        """Poll the run and yield its state until it is done.

        Raises:
            DemoError: it failed or was cancelled.
        """
        while True:
            state = self._client.get(f"/runs/{run}/")
            if state["state"] in ("failed", "cancelled"):
                raise DemoError(
                    f"Run {run} ({state['kind']}) {state['state']}: {state['error'] or 'by someone'}"
                )
            yield state
            if state["state"] == "done":
                return
            time.sleep(0.5)
