"""`make bench-core`: our training beside TRL's, case by case, in one interleaved run.

    python -m benchmarks.core [--quick] [--only floor,reward,dpo,generate,grpo,ppo,reward16] [--repeats 5] [--cases k4-p256]

The last line on stdout is one JSON object: how many times the CPU time of the best comparable peer ours takes, for each
headline case; null for what was not measured, with the reason above it.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.environments import NEWEST, WITH_PPO, peer
from benchmarks.gate import Server
from benchmarks.workloads import PLACE, ROOT, SMALL, Case, Shape, make_models, rankings, tokens_saved

LONG = 5.0
"""CPU seconds from which on a first step counts: what it does but once is then a small part of it."""


@dataclass
class Side:
    """One contender: the server it runs on, what is asked of it, and whether it stands for the peer in ratios."""

    label: str
    server: str
    spec: dict[str, Any]
    peer: bool = False
    precision: str = "float32"
    figures: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            name: getattr(self, name) for name in ("label", "server", "spec", "peer", "precision", "figures")
        }


class Bench:
    """The servers, and what all cases have in common."""

    def __init__(
        self, shape: Shape, repeats: int, quick: bool, only: str = "", scratch: bool = False
    ) -> None:
        self.repeats, self.quick, self.only = repeats, quick, only
        self.left_out: list[str] = []
        self.shape, self.scratch = shape, scratch or quick
        PLACE.mkdir(parents=True, exist_ok=True)
        self.models = make_models(shape, PLACE / ("models-small" if quick else "models"))
        self.peers = {"trl": peer("trl-new", NEWEST)}
        self._pythons: dict[str, tuple[Path | str, str]] = {
            "ours": (sys.executable, "benchmarks.ours"),
            "trl": (self.peers["trl"], "benchmarks.peer_trl"),
        }
        self._servers: dict[str, Server] = {}

    def with_old_trl(self) -> None:
        self.peers["trl with PPO"] = peer("trl-old", WITH_PPO)
        self._pythons["trl with PPO"] = (self.peers["trl with PPO"], "benchmarks.peer_trl")

    def server(self, name: str) -> Server:
        if name not in self._servers:
            python, module = self._pythons[name]
            environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            self._servers[name] = Server(python, module, PLACE, environment)
        return self._servers[name]

    def cases(self, *cases: Case) -> list[Case]:
        """Those that were asked for by name."""
        self.left_out = [f"{case.name}, not asked for." for case in cases if self.only not in case.name]
        return [case for case in cases if self.only in case.name]

    def stop(self) -> None:
        for server in self._servers.values():
            server.stop()

    def measure(
        self, case: Case, sides: list[Side], title: str, repeats: int | None = None
    ) -> dict[str, Any]:
        """Let the sides take turns until each has `repeats` figures."""
        wanted = repeats or self.repeats
        workers = [
            self.server(side.server).worker(models=str(self.models), case=case.to_dict(), **side.spec)
            for side in sides
        ]
        for worker in workers:
            worker.ready()
        warmed: set[int] = set()
        while any(len(side.figures) < wanted for side in sides):
            for number, (side, worker) in enumerate(zip(sides, workers, strict=True)):
                if len(side.figures) == wanted:
                    continue
                figures = worker.step()
                if number in warmed or figures["cpu"] > LONG:
                    side.figures.append(figures)
                warmed.add(number)
        for worker in workers:
            worker.close()
        found = {
            "name": case.name,
            "title": title,
            "case": case.to_dict(),
            "sides": [side.to_dict() for side in sides],
        }
        print(f"\n{title}\n{results.case_table(found)}", flush=True)
        return found

    def best_batch(self, case: Case, candidates: tuple[int, ...], spec: dict[str, Any]) -> int:
        """The peer's fastest batch size, by a trial."""
        sides = [Side(f"trial: {size} at once", "trl", spec | {"batch": size}) for size in candidates]
        self.measure(case, sides, f"Trial of batch sizes: {spec}", repeats=1)
        times = {size: results.median_of(side.figures) for size, side in zip(candidates, sides, strict=True)}
        return min(times, key=lambda size: times[size])

    def save(self, part: str, values: dict[str, Any]) -> None:
        results.save(
            part, {"about": results.about(self.peers), "left_out": self.left_out} | values, quick=self.scratch
        )
        if not self.scratch:
            results.write_report()


REWARD_CASES = (
    Case("reward", 4, 256, 128, 1),
    Case("reward", 9, 256, 128, 1),
    Case("reward", 2, 256, 128, 4),
    Case("reward", 4, 512, 64, 1),
    Case("reward", 9, 512, 64, 1),
    Case("reward", 2, 512, 64, 4),
    Case("reward", 2, 32, 32, 16),  # short prompts and single pairs: little to share
    Case("reward", 4, 128, 512, 1),  # long responses: little to save
)


def reward(bench: Bench) -> None:
    base = {"builder": "reward"}
    batch = bench.best_batch(REWARD_CASES[0], (1, 2), base)
    found = []
    for case in bench.cases(*REWARD_CASES[:: 6 if bench.quick else 1]):
        sides = [
            Side(f"TRL best (batch {batch})", "trl", base | {"batch": batch}, peer=True),
            Side("ours: one forward a response, padded", "ours", base | {"layout": "rows"}),
            Side("ours: + no padding", "ours", base | {"packed": True}),
            Side("ours: + shared prompt", "ours", base),
        ]
        found.append(bench.measure(case, sides, title_of(bench, case)))
        bench.save("reward", {"cases": found})


def reward_bfloat16(bench: Bench) -> None:
    base = {"builder": "reward"}
    narrow = base | {"bf16": True}
    batch = bench.best_batch(REWARD_CASES[0], (1, 2), narrow)
    found = []
    for case in bench.cases(*REWARD_CASES[: 1 if bench.quick else 6]):
        sides = [
            Side("TRL default", "trl", base | {"default": True}, True, "bfloat16"),
            Side(
                f"TRL, no checkpointing (batch {batch})", "trl", narrow | {"batch": batch}, True, "bfloat16"
            ),
            Side("ours: shared prompt", "ours", narrow, precision="bfloat16"),
        ]
        found.append(bench.measure(case, sides, title_of(bench, case)))
        bench.save("reward16", {"cases": found})


def dpo(bench: Bench) -> None:
    cases = [Case("dpo", 4, 256, 128, 1), Case("dpo", 9, 256, 128, 1), Case("dpo", 2, 256, 128, 4)]
    if bench.quick:
        cases = cases[:2]
    base = {"builder": "dpo"}
    patched = base | {"precomputed": True, "compact": True}
    batch = bench.best_batch(cases[0], (1, 2), patched)
    found = []
    for case in bench.cases(*cases):
        sides = [
            Side("TRL, online reference", "trl", base | {"batch": batch}),
            Side("TRL, reference precomputed", "trl", base | {"batch": batch, "precomputed": True}),
            Side("TRL, precomputed + compact", "trl", patched | {"batch": batch}, peer=True),
            Side("ours: shared prompt", "ours", base),
        ]
        found.append(bench.measure(case, sides, f"{title_of(bench, case)} (TRL's batch {batch})"))
        bench.save("dpo", {"cases": found})


def generate(bench: Bench) -> None:
    case = Case("generate", 8, 128, 64, 64)
    if bench.quick:
        case = Case("generate", 4, 32, 16, 8)
    base = {"builder": "generate"}
    best = {"builder": "generate_best", "batch": 128}
    sides = [
        Side("model.generate as TRL calls it", "trl", base, peer=True),
        Side("model.generate, static cache, 128 rows", "trl", best, peer=True),
        Side("ours: prompt prefilled once, cache in place", "ours", base),
    ]
    bench.left_out = []
    bench.save("generate", {"cases": [bench.measure(case, sides, rollouts_title(bench, case))]})


def grpo(bench: Bench) -> None:
    cases = [Case("grpo", 8, 128, 64, 8), Case("grpo", 8, 512, 64, 8)]
    if bench.quick:
        cases = [Case("grpo", 4, 32, 16, 4)]
    base = {"builder": "grpo", "compact": True}
    ours = {"builder": "rollouts", "kind": "grpo", "config": {"beta": 0.04, "updates": 1}}
    batch = bench.best_batch(cases[0], (8, 16), base)
    found = []
    for case in bench.cases(*cases):
        sides = [
            Side("TRL as it comes", "trl", base | {"batch": batch, "compact": False}, peer=True),
            Side("TRL compact", "trl", base | {"batch": batch}, peer=True),
            Side("ours", "ours", ours),
        ]
        title = f"{rollouts_title(bench, case)} (TRL's batch {batch})"
        found.append(bench.measure(case, sides, title))
        bench.save("grpo", {"cases": found})


def ppo(bench: Bench) -> None:
    bench.with_old_trl()
    cases = [Case("ppo", 4, 128, 64, 8), Case("ppo", 1, 128, 64, 32)]
    if bench.quick:
        cases = [Case("ppo", 2, 32, 16, 4)]
    base = {"builder": "ppo", "batch": 8}
    ours = {"builder": "rollouts", "kind": "ppo", "config": {"beta": 0.05, "updates": 1}}
    found = []
    for case in bench.cases(*cases):
        sides = [
            Side("TRL 1.12.0", "trl with PPO", base, peer=True),
            Side("ours", "ours", ours),
        ]
        found.append(bench.measure(case, sides, rollouts_title(bench, case)))
        bench.save("ppo", {"cases": found})


def floor(bench: Bench) -> None:
    case = Case("reward", 4, 256, 128, 4)
    worker = bench.server("ours").worker(builder="floor", models=str(bench.models), case=case.to_dict())
    worker.ready()
    figures = [worker.step() for _ in range(1 + bench.repeats)][1:]
    worker.close()
    rates = {name: results.median_of(figures, name) for name in ("products", "large", "share_of_step")}
    row = {"label": "linear layers"} | rates
    print(row, flush=True)
    bench.save("floor", {"rows": [row]})


def title_of(bench: Bench, case: Case) -> str:
    saved = tokens_saved(rankings(case, bench.shape.vocabulary))
    count = f"{case.groups} ranking{'s' * (case.groups > 1)} a step"
    return f"k={case.k}, P{case.prompt} R{case.response}: {count}, tokens saved {saved:.1f} times"


def rollouts_title(bench: Bench, case: Case) -> str:
    """Tokens saved: those of every sample after a prompt of its own, over those with each prompt once."""
    prompts = sum(len(row["prompt"]) for row in rankings(case, bench.shape.vocabulary))
    sampled = case.groups * case.k * case.response
    saved = (case.k * prompts + sampled) / (prompts + sampled)
    samples = f"{case.k} sample{'s' * (case.k > 1)}"
    return (
        f"{case.groups} prompts of about {case.prompt} tokens, {samples}, {case.response} new tokens, "
        f"tokens saved {saved:.1f} times"
    )


PARTS = {
    "floor": floor,
    "reward": reward,
    "dpo": dpo,
    "generate": generate,
    "grpo": grpo,
    "ppo": ppo,
    "reward16": reward_bfloat16,
}

HEADLINES = {
    "reward_k4": ("reward", "reward-k4-p256-r128"),
    "reward_k9": ("reward", "reward-k9-p256-r128"),
    "dpo_k1": ("dpo", "dpo-k2-p256-r128"),
    "dpo_k4": ("dpo", "dpo-k4-p256-r128"),
    "dpo_k9": ("dpo", "dpo-k9-p256-r128"),
    "grpo_step": ("grpo", "grpo-k8-p128-r64"),
    "ppo_step": ("ppo", "ppo-k4-p128-r64"),
    "generate": ("generate", "generate-k8-p128-r64"),
}
"""Which case stands behind each figure of the last line. dpo_k1 is one pair a prompt, a ranking of two."""


def headlines(scratch: bool) -> dict[str, float | None]:
    """Best float32 peer over our best float32 side, in CPU time, from what is on file."""
    found: dict[str, float | None] = {}
    for name, (part, case_name) in HEADLINES.items():
        cases = (results.load(part, quick=scratch) or {"cases": []})["cases"]
        case = next((case for case in cases if case["name"] == case_name), None)
        if case is None:
            print(f"{name}: null, as {case_name} was not measured.")
            found[name] = None
            continue
        sides = [side for side in case["sides"] if side["precision"] == "float32"]
        best_peer = min(results.median_of(side["figures"]) for side in sides if side["peer"])
        best_ours = min(results.median_of(side["figures"]) for side in sides if side["server"] == "ours")
        found[name] = round(best_peer / best_ours, 2)
    rows = (results.load("floor", quick=scratch) or {"rows": []})["rows"]
    found["floor"] = round(max(row["products"] / row["large"] for row in rows), 3) if rows else None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model and few repeats, to try the benchmark out"
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--repeats", type=int, default=0, help="figures a side; 5, or 2 when quick")
    parser.add_argument("--cases", default="", help="only cases whose name holds this, as in k4-p256")
    parser.add_argument(
        "--scratch", action="store_true", help="keep the figures apart, as those of a quick run are"
    )
    options = parser.parse_args()
    bench = Bench(
        SMALL if options.quick else Shape(),
        options.repeats or (2 if options.quick else 5),
        options.quick,
        options.cases,
        options.scratch,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped too
    print(results.processor())
    try:
        for part in options.only.split(","):
            PARTS[part](bench)
    finally:
        bench.stop()
    print(json.dumps(headlines(bench.scratch)))


if __name__ == "__main__":
    main()
