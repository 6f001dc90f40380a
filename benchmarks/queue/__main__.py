"""The annotators' hot loop, submit and next item by HTTP, beside Label Studio and bare Django: `make bench-queue`.

Every side's server shares one core with PostgreSQL and Valkey, the annotators have another one. Sides take turns. The last
line is one JSON object; the lines before it say how each figure came about.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks import results
from benchmarks.queue import label_studio, machine, palate
from benchmarks.queue.annotators import BareAnnotator, Shift, work
from benchmarks.queue.database import Database, Servers
from benchmarks.workloads import ROOT

SERVER_CORE, CLIENT_CORE = 0, 1
CROWDS = (1, 8, 32)


class BareSite:
    """The floor, behind the fastest server that was found for it. `raw`: two SQL statements in place of session, user and ORM."""

    def __init__(self, database: Database, items: int, people: int, *, raw: bool) -> None:
        self.database, self.people, self.raw, self.port = database, people, raw, machine.free_port()
        command = [sys.executable, "-m", "benchmarks.queue.bare", str(items), str(people)]
        subprocess.run(command, cwd=ROOT, env=self.environment(), check=True)

    def environment(self) -> dict[str, str]:
        return os.environ | self.database.environment() | {"DJANGO_SETTINGS_MODULE": "unset"}

    def command(self) -> list[str]:
        server = ["gunicorn", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "60"]
        address = ["--bind", f"127.0.0.1:{self.port}", "--log-level", "error"]
        return [sys.executable, "-m", *server, *address, "benchmarks.queue.bare:application"]

    def annotators(self) -> list[Any]:
        if self.raw:
            return [BareAnnotator(self.port, "/raw", "/raw") for _ in range(1, self.people)]
        return [
            BareAnnotator(self.port, f"/start?username=person-{n}", "/next") for n in range(1, self.people)
        ]


@dataclass
class Side:
    """A site that is served, with what was measured of it so far."""

    name: str
    site: Any
    servers: Servers
    seconds: float
    shifts: dict[int, list[tuple[Shift, float]]] = field(default_factory=dict)

    def serve(self) -> None:
        self.process = subprocess.Popen(
            self.site.command(),
            cwd=getattr(self.site, "code", ROOT),
            env=self.site.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: machine.pin(SERVER_CORE),
        )

    def sign_in(self) -> None:
        self.people = self.site.annotators()
        for person in self.people:
            _patiently(person.start)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def take_turn(self, crowd: int) -> None:
        """Some people at work for a while, after a short while that does not count."""
        roots = [self.process.pid, self.servers.postmaster, self.servers.valkey]
        work(self.people[:crowd], self.seconds / 10)
        before = machine.cpu_seconds(roots)
        shift = work(self.people[:crowd], self.seconds)
        self.shifts.setdefault(crowd, []).append((shift, machine.cpu_seconds(roots) - before))

    def figures(self, crowd: int) -> dict[str, float]:
        turns = self.shifts[crowd]
        cycles = sorted(cycle for shift, _ in turns for cycle in shift.cycles)
        return {
            "per_s": median(len(shift.cycles) / shift.seconds for shift, _ in turns),
            "cpu_ms": 1000 * sum(cpu for _, cpu in turns) / max(1, len(cycles)),
            **{
                f"p{share}_ms": 1000 * cycles[min(len(cycles) - 1, len(cycles) * share // 100)]
                for share in (50, 95, 99)
            },
            "cycles": len(cycles),
        }

    def errors(self) -> list[str]:
        return [error for turns in self.shifts.values() for shift, _ in turns for error in shift.errors]


def _patiently(start: Callable[[], None]) -> None:
    """The first answer of a server may take a while."""
    end = time.monotonic() + 180
    while True:
        try:
            return start()
        except ConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8, help="of a turn")
    parser.add_argument("--turns", type=int, default=3, help="of each side, with each number of annotators")
    parser.add_argument("--quick", action="store_true", help="short turns and small sizes, to try it out")
    parser.add_argument("--no-peer", action="store_true", help="without Label Studio")
    options = parser.parse_args()
    sizes = {"small": 1_000, "middle": 10_000, "large": 100_000}
    if options.quick:
        options.seconds, options.turns, sizes = 2, 1, {"small": 1_000, "middle": 2_000, "large": 10_000}
    machine.pin(CLIENT_CORE)
    servers = Servers(SERVER_CORE)
    try:
        with ExitStack() as running:
            sides = measure(servers, options, sizes, running)
        values = {
            "about": results.about({}),
            "sides": [
                {
                    "label": side.name,
                    "crowds": {str(crowd): side.figures(crowd) for crowd in side.shifts},
                    "errors": len(side.errors()),
                }
                for side in sides.values()
            ],
            "line": line(sides, sizes),
        }
    finally:
        servers.stop()
    is_partial = options.quick or options.no_peer
    results.save("queue", values, quick=is_partial)
    if not is_partial:
        results.write_report()
    print(json.dumps(values["line"]))


def measure(servers: Servers, options: Any, sizes: dict[str, int], running: ExitStack) -> dict[str, Side]:
    def side(
        name: str,
        make: Callable[..., Any],
        items: int,
        seconds: float = options.seconds,
        people: int = max(CROWDS) + 1,  # and one who leads
        **site_options: Any,
    ) -> Side:
        database = servers.database(f"{name.replace(' ', '_')}_{items}")
        print(f"{name}: {items:,} items", flush=True)
        started = Side(
            f"{name}, {items:,} items", make(database, items, people, **site_options), servers, seconds
        )
        started.serve()
        running.callback(started.stop)
        started.sign_in()
        return started

    # all servers run from here on: what waits for its turn costs nothing
    sides = {
        "palate": side("palate", palate.Site, sizes["middle"]),
        "bare": side("bare", BareSite, 10 * sizes["middle"], raw=False),
        "raw": side("bare_sql", BareSite, 10 * sizes["middle"], raw=True),
        # short turns: the small queue must not run empty
        "large": side("palate", palate.Site, sizes["large"], options.seconds / 4, 9),
        "small": side("palate", palate.Site, sizes["small"], options.seconds / 4, 9),
    }
    if not options.no_peer:
        sides["label_studio"] = side("label_studio", label_studio.Site, sizes["middle"])
    for turn in range(options.turns):
        for crowd in CROWDS:
            for name, current in sides.items():
                if name in ("large", "small") and crowd != 8:
                    continue
                current.take_turn(crowd)
                shift, cpu = current.shifts[crowd][-1]
                each = 1000 * cpu / max(1, len(shift.cycles))
                rate = len(shift.cycles) / shift.seconds
                print(
                    f"turn {turn + 1}, {crowd:2} at {current.name:32} {rate:7.1f} cycles/s, {each:6.1f} ms CPU a cycle",
                    *shift.errors[:1],
                    flush=True,
                )
    return sides


def line(sides: dict[str, Side], sizes: dict[str, int]) -> dict[str, Any]:
    """The figures that are to be reached, at eight annotators; ratios are of cycles a second."""
    ours = sides["palate"].figures(8)

    def times(name: str, figure: str) -> float | None:
        if name not in sides:
            return None
        theirs = sides[name].figures(8)
        return ours["per_s"] / theirs["per_s"] if figure == "per_s" else theirs["cpu_ms"] / ours["cpu_ms"]

    mine = [side for name, side in sides.items() if name in ("palate", "large", "small")]
    totals = [accounts(side) for side in mine]
    return {
        "vs_label_studio": rounded(times("label_studio", "per_s")),
        "vs_label_studio_cpu": rounded(times("label_studio", "cpu_ms")),
        "vs_bare_django": rounded(times("bare", "per_s")),
        "vs_bare_django_cpu": rounded(times("bare", "cpu_ms")),
        "vs_bare_sql": rounded(times("raw", "per_s")),
        "cycles_per_s_8": round(ours["per_s"], 1),
        "cpu_ms_8": round(ours["cpu_ms"], 2),
        "p50_ms_8": round(ours["p50_ms"], 1),
        "p95_ms_8": round(ours["p95_ms"], 1),
        "duplicates": sum(total["duplicates"] for total in totals),
        "lost": sum(total["lost"] for total in totals),
        "errors": sum(len(side.errors()) for side in mine),
        "queries_per_cycle": sides["palate"].site.queries_per_cycle(),  # after the accounts: it judges, too
        "items_100k_vs_1k": round(
            sides["large"].figures(8)["cpu_ms"] / sides["small"].figures(8)["cpu_ms"], 3
        ),
        "sizes": list(sizes.values()),
    }


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


def accounts(side: Side) -> dict[str, int]:
    """What the annotators did beside what the database holds of it. Each item was wanted once."""
    judged = sum(len(person.submitted_items) for person in side.people)
    ((stored, items),) = side.site.database.ask(
        "SELECT count(*), count(DISTINCT item_id) FROM annotation_judgment"
    )
    return {"duplicates": stored - items, "lost": judged - stored}


if __name__ == "__main__":
    main()
