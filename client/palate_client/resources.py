"""What a lead manages on a site: projects, members, snapshots, runs, models, loops, rounds, webhooks and tokens."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from palate_client.errors import PalateError

Json = dict[str, Any]
FINAL_STATES = ("done", "cancelled", "awaiting", "held", "failed")
"""States in which a round has ended, or waits for a decision."""
RUN_ENDS = ("done", "cancelled", "failed")
OnChange = Callable[[Json], object]


class Resources(ABC):
    """The methods that read or change one resource each; a client adds how requests are sent."""

    # --- projects and members -------------------------------------------------------------------------------

    def projects(self) -> list[Json]:
        return self._list("/projects/")

    def project(self, slug: str) -> Json:
        return self._json("GET", f"/projects/{slug}/")

    def create_project(self, name: str, guideline: str, **settings: Any) -> Json:
        """A new project, of which you are the lead. settings: as in `PATCH projects/{slug}/`."""
        return self._json("POST", "/projects/", {"name": name, "guideline": guideline, **settings})

    def members(self, slug: str, *, ordering: str = "") -> list[Json]:
        """As they joined, or by `ordering`: `person`, `role`, `today`, `total` or `last`, with a `-` before it the highest
        first."""
        return self._list(f"/projects/{slug}/members/{_query(ordering=ordering)}")

    def add_member(self, slug: str, username: str, role: str = "annotator") -> Json:
        """Add an existing account to a project."""
        return self._json("POST", f"/projects/{slug}/members/", {"username": username, "role": role})

    def reminders(self, slug: str) -> list[Json]:
        """The annotators, with whether each may be reminded now that items are waiting for them."""
        return list(self._pages(f"/projects/{slug}/reminders/"))

    def remind(self, slug: str, users: Sequence[str]) -> Json:
        """Remind members, by their user names, nobody twice within 12 hours. Returns the names of those who were (`sent`), and
        were not (`left_out`).

        Raises:
            PalateError: one is no member, or none of them may be reminded now.
        """
        return self._json("POST", f"/projects/{slug}/reminders/", {"users": list(users)})

    # --- snapshots ------------------------------------------------------------------------------------------

    def snapshots(self, slug: str) -> list[Json]:
        """All of them, newest first."""
        return list(self._pages(f"/projects/{slug}/snapshots/"))

    def freeze(
        self,
        slug: str,
        *,
        note: str = "",
        licence: str = "",
        imported: bool = False,
        every_s: float = 2.0,
        on_change: OnChange = lambda _: None,
    ) -> Json:
        """Create a snapshot of the judgments up to now. imported: with the imported ones.

        In a large project a worker does it: `on_change` is called with its job whenever that has advanced.

        Raises:
            PalateError: it failed, or was cancelled.
        """
        place = f"/projects/{slug}/snapshots/"
        created = self._json("POST", place, {"note": note, "licence": licence, "imported": imported})
        if "number" in created:
            return created
        job = self._watch(
            lambda: self._json("GET", f"{place}jobs/{created['id']}/"),
            ("state", "percent"),
            RUN_ENDS,
            every_s,
            on_change,
        )
        if job["state"] != "done":
            raise PalateError(0, job["error"] or "The snapshot was cancelled.")
        return self._json("GET", f"{place}{job['snapshot']}/")

    # --- runs and models ------------------------------------------------------------------------------------

    def runs(self, slug: str, *, ordering: str = "started") -> list[Json]:
        """All of them. ordering: `started`, `kind` or `state`, with a `-` before it the highest first."""
        return list(self._pages(f"/projects/{slug}/runs/", {"ordering": ordering}))

    def start_run(self, slug: str, kind: str, **values: Any) -> Json:
        """Start a run. values: `config`, `inputs`, `model`, `snapshot` (its number), `reward_model`,
        `resources` (`nodes`, `gpus`, `queue`, `priority`)."""
        return self._json("POST", f"/projects/{slug}/runs/", {"kind": kind, **values})

    def run(self, id: int) -> Json:
        return self._json("GET", f"/runs/{id}/")

    def cancel_run(self, id: int) -> Json:
        return self._json("POST", f"/runs/{id}/cancel/")

    def resume_run(self, id: int) -> Json:
        return self._json("POST", f"/runs/{id}/resume/")

    def watch_run(self, id: int, *, every_s: float = 2.0, on_change: OnChange = lambda _: None) -> Json:
        """Follow a run until it has ended; returns its last state."""
        return self._watch(lambda: self.run(id), ("state", "percent"), RUN_ENDS, every_s, on_change)

    def models(self, slug: str, *, ordering: str = "-added") -> list[Json]:
        """All of them, newest first. ordering: `added`, `name`, `kind`, `parent`, `judgments` or `accuracy`, with a `-` before it
        the highest first; models without a value come last."""
        return list(self._pages(f"/projects/{slug}/models/", {"ordering": ordering}))

    def add_model(self, slug: str, kind: str, name: str, location: str, *, ask_hub: bool = True) -> Json:
        """Add a model: `file:/folder` on the server, or `hub:org/name@revision`. Returns it.

        Args:
            kind: `policy` or `reward`.
            ask_hub: false adds a hub's model although the hub does not show it to the site.
        """
        data = {"kind": kind, "name": name, "location": location, "ask_hub": ask_hub}
        return self._json("POST", f"/projects/{slug}/models/", data)

    def promote_model(self, id: int) -> Json:
        """Make a model the current one of its kind."""
        return self._json("POST", f"/models/{id}/promote/")

    # --- comparisons of policies ----------------------------------------------------------------------------

    def leaderboard(self, slug: str, **filters: str) -> list[Json]:
        """Ratings of policies by what people preferred, best first. filters: `days`, `annotator`, `tag`, `version`."""
        return self._list(f"/projects/{slug}/leaderboard/{_query(**filters)}")

    def leaderboard_pairs(self, slug: str, **filters: str) -> list[Json]:
        """Win rates of each two policies, by people and by reward models, with the same filters."""
        return self._list(f"/projects/{slug}/leaderboard/pairs/{_query(**filters)}")

    def comparison(self, slug: str, policy: int, baseline: int) -> Json:
        """Win rates of a policy over another one, by their ids, by people and by each reward model; and what is `missing`."""
        return self._json("GET", _pair(slug, policy, baseline))

    def start_comparison(
        self, slug: str, policy: int, baseline: int, *, scorer: int | None = None
    ) -> list[int]:
        """Have both answer the same prompts; or have a reward model, `scorer`, score what they answered. Returns the ids of the
        runs."""
        body = {} if scorer is None else {"scorer": scorer}
        return list(self._json("POST", _pair(slug, policy, baseline), body)["runs"])

    def compared_prompts(self, slug: str, policy: int, baseline: int, **search: str) -> Iterator[Json]:
        """Both models' answers, prompt by prompt, those on which the policy lost most first. search: `by` (`people` or a reward
        model's id), `order` (`losses` or `gains`), `winner` (`policy`, `baseline` or `tie`), `tag`, `split`, and `disputed` and
        `flagged` (`true`)."""
        return self._pages(f"{_pair(slug, policy, baseline)}prompts/", search)

    def queue_answers(self, slug: str, policy: int, baseline: int, responses: Sequence[int]) -> int:
        """Put an answer of each to the same prompt into the queue, by their ids, once. Returns the item's id."""
        body = {"responses": list(responses)}
        return int(self._json("POST", f"{_pair(slug, policy, baseline)}queue/", body)["item"])

    # --- loops and rounds -----------------------------------------------------------------------------------

    def loops(self, slug: str) -> list[Json]:
        return self._list(f"/projects/{slug}/loops/")

    def create_loop(self, slug: str, name: str, recipe: str = "dpo", **values: Any) -> Json:
        """Returns it. values: `options` of its rounds, `configs` of their runs by kind, and more, as the API takes them."""
        return self._json("POST", f"/projects/{slug}/loops/", {"name": name, "recipe": recipe, **values})

    def rounds(self, loop: int) -> list[Json]:
        """All of them, newest first."""
        return list(self._pages(f"/loops/{loop}/rounds/"))

    def start_round(self, loop: int) -> Json:
        return self._json("POST", f"/loops/{loop}/rounds/", {})

    def round(self, id: int) -> Json:
        return self._json("GET", f"/rounds/{id}/")

    def decide_round(self, id: int, verb: str, **body: str) -> Json:
        """`promote` or `reject` its policy (`note`), `overrule` its gates (`reason`), `retry` from a `step`, or `cancel` it."""
        return self._json("POST", f"/rounds/{id}/{verb}/", body)

    def watch_round(self, id: int, *, every_s: float = 2.0, on_change: OnChange = lambda _: None) -> Json:
        """Follow a round until it has ended or waits for a decision; returns its last state."""
        return self._watch(lambda: self.round(id), ("state", "step"), FINAL_STATES, every_s, on_change)

    # --- webhooks -------------------------------------------------------------------------------------------

    def webhooks(self, slug: str) -> list[Json]:
        return self._list(f"/projects/{slug}/webhooks/")

    def add_webhook(self, slug: str, url: str, events: Sequence[str]) -> Json:
        """Returns it with its secret, which is shown only once."""
        return self._json("POST", f"/projects/{slug}/webhooks/", {"url": url, "events": list(events)})

    # --- tokens ---------------------------------------------------------------------------------------------

    def tokens(self) -> list[Json]:
        """Your API tokens, newest first, without their keys."""
        return self._list("/tokens/")

    def revoke_token(self, id: int) -> None:
        self._delete(f"/tokens/{id}/")

    # --- HTTP -----------------------------------------------------------------------------------------------

    @staticmethod
    def _watch(
        read: Callable[[], Json],
        watched: Sequence[str],
        ends: Sequence[str],
        every_s: float,
        on_change: OnChange,
    ) -> Json:
        before: list[Any] = []
        while True:
            now = read()
            if (values := [now[name] for name in watched]) != before:
                before = values
                on_change(now)
            if now["state"] in ends:
                return now
            time.sleep(every_s)

    @abstractmethod
    def _delete(self, path: str) -> None: ...

    @abstractmethod
    def _json(self, method: str, path: str, data: Any = None) -> Json:
        """The object that a request returns."""

    @abstractmethod
    def _list(self, path: str) -> list[Json]: ...

    @abstractmethod
    def _pages(self, path: str, parameters: Mapping[str, str] | None = None) -> Iterator[Json]:
        """The results of all pages of a list."""


def _pair(slug: str, policy: int, baseline: int) -> str:
    return f"/projects/{slug}/comparisons/{policy}/{baseline}/"


def _query(**parameters: str) -> str:
    given = {name: value for name, value in parameters.items() if value}
    return f"?{urlencode(given)}" if given else ""
