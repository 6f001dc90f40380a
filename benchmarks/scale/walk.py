"""Opens every page and API list of the site of DATABASE_URL: python -m benchmarks.scale.walk WORLD

WORLD: the JSON that `seed` prints. Prints one JSON object a line: name, path, milliseconds, queries, kilobytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from statistics import median
from time import perf_counter, sleep
from types import SimpleNamespace
from typing import Any, cast

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.http import HttpResponseBase  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.urls import reverse  # noqa: E402

from annotation.models import Project, User  # noqa: E402
from tests import screens  # noqa: E402

REPEATS = 5
# pages that load later or change with a filter, and lists far from their start: (name, query)
PARTS = ("opinion-set-runs", "project-loop", "import-list", "webhook-log")
FIGURES = ("progress", "quality", "annotator", "ai-feedback", "opinion-set")
"""Pages whose figures a worker counts, and htmx loads."""
HTMX = {"HX-Request": "true"}
VARIANTS = {
    "items": (
        "?after=1000",
        "?sort=-agreement&after=0.9,1000",
        "?tag=topic-3",
        "?text=Question+77",
        "?state=open",
        "?sort=agreement",
    ),
    "search": ("?q=Question", "?q=nothing+of+this+kind", "?q=nothing+of+this+kind&kind=answers"),
    "members": ("?sort=-total", "?name=person-4"),
    "audit": ("?page=50",),
    "review": ("?after=0.3,1000", "?days=7", "?kind=gold", "?kind=flagged"),
    "progress": ("?days=7", "?tag=topic-3"),
    "quality": ("?days=7",),
    "notifications": ("?page=5",),
}
LISTS = (
    "members",
    "invitations",
    "rules",
    "batches",
    "audit",
    "quality",
    "opinion-sets",
    "guidelines",
    "constitution",
    "questions",
    "prompts",
    "imports",
    "items",
    "judgments-mine",
    "snapshots",
    "webhooks",
    "runs",
    "models",
    "loops",
    "leaderboard",
    "leaderboard-pairs",
    "reminders",
    "timesheet",
)


def main(world: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    world.project, world.pairs, world.letters = (
        Project.objects.get(slug=slug) for slug in (world.project, world.pairs, world.letters)
    )
    busy = User.objects.filter(username__startswith="person-").order_by("pk")[0]
    people = {"lead": User.objects.get(pk=world.lead), "annotator": busy}
    clients = {}
    for role, person in people.items():
        clients[role] = Client()
        clients[role].force_login(person, settings.AUTHENTICATION_BACKENDS[-1])
    for role, name, path in pages(world, busy):
        figures = measure(clients[role], path)
        print(json.dumps({"role": role, "name": name} | figures), flush=True)
        if role == "lead" and name in FIGURES:
            part = measure(clients[role], path, headers=HTMX)
            print(json.dumps({"role": role, "name": f"{name}, figures"} | part), flush=True)


def pages(world: Any, annotator: User) -> Iterator[tuple[str, str, str]]:
    """(role, name, path) of what is opened."""
    world = cast("screens.World", world)
    own = annotator.judgments.latest("pk").pk
    tables = {"lead": screens.LEAD, "annotator": screens.ANNOTATOR | {"my-judgment": lambda _: [own]}}
    for role, table in tables.items():
        for name, path in screens.paths(table, world).items():
            if name.startswith("account_"):
                continue  # of the library for accounts: nothing there grows
            yield role, name, path
            for variant in VARIANTS.get(name, ()):
                yield role, f"{name} {variant}", path + variant
    for name in PARTS:
        arguments: list[object] = [world.project.slug]
        if name == "opinion-set-runs":
            arguments.append(1)
        if name == "webhook-log":
            arguments.append(world.webhook)
        yield "lead", name, reverse(name, args=arguments)
    for name in LISTS:
        yield "lead", f"API {name}", reverse(f"api-{name}", args=[world.project.slug])


def measure(client: Client, path: str, **options: Any) -> dict[str, Any]:
    """Of a warm GET: the median time of the whole request, its statements, and the size of the answer. `counted_s`: how long
    a worker took before, if it had to count."""
    counted = _wait_until_counted(client, path, options)
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(path, **options)
        size = len(body(answer))
    statements = queries.captured_queries  # a later request empties the log
    times = []
    for _ in range(REPEATS):
        start = perf_counter()
        body(client.get(path, **options))
        times.append(perf_counter() - start)
    return {
        "path": path,
        "status": answer.status_code,
        "counted_s": counted,
        "ms": round(1000 * median(times), 1),
        "queries": len(statements),
        "sql_ms": round(1000 * sum(float(query["time"]) for query in statements), 1),
        "kb": round(size / 1000, 1),
    }


def _wait_until_counted(client: Client, path: str, options: dict[str, Any]) -> float:
    start = perf_counter()
    while True:
        answer = client.get(path, **options)
        waits = answer.status_code == 503 or (options and b'class="stack deferred"' in body(answer))
        if not waits:
            seconds = perf_counter() - start
            return round(seconds, 1) if seconds > 1 else 0.0
        sleep(0.5)


def body(answer: HttpResponseBase) -> bytes:
    return b"".join(answer) if answer.streaming else answer.content  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(SimpleNamespace(**json.loads(sys.argv[1])))
