"""Whole rounds of several recipes, each round's policy measured by the hidden preferences.

    python -m benchmarks.rounds [--recipes dpo,llama2] [--seeds 0,1,2] [--rounds 5] [--report]

Each is `manage.py demo`, the site with its workers and its simulated people, in a folder of its own under var/rounds. An
interrupted one resumes; a finished one is only read. `--report` only reads finished ones.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import results
from benchmarks.plot import Curve, write_plot
from benchmarks.queue.machine import free_port
from benchmarks.workloads import ROOT

PLACE = ROOT / "var" / "rounds"
ROUNDS = 5


def play(recipe: str, seed: int, rounds: int) -> list[dict[str, Any]]:
    """What the demo printed of its rounds."""
    folder = folder_of(recipe, seed)
    folder.mkdir(parents=True, exist_ok=True)
    command = ["manage.py", "demo", "--recipe", recipe, "--seed", str(seed), "--rounds", str(rounds)]
    with (folder / "demo.log").open("a") as log:
        done = subprocess.run(
            [sys.executable, *command, "--no-serve", "--port", str(free_port())],
            cwd=ROOT,
            env=os.environ | {"PALATE_VAR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=log,
            check=True,
            text=True,
        )
    (folder / "figures.json").write_text(done.stdout.splitlines()[-1])
    return read(recipe, seed)


def folder_of(recipe: str, seed: int) -> Path:
    return PLACE / f"{recipe}-{seed}"


def read(recipe: str, seed: int) -> list[dict[str, Any]]:
    """The rounds of a finished demo; an empty list before it has finished."""
    path = folder_of(recipe, seed) / "figures.json"
    rounds: list[dict[str, Any]] = json.loads(path.read_text())["rounds"] if path.exists() else []
    return rounds


def averaged(number: int, seeds: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """One round over all seeds. Seeds are worlds of their own: the interval of their mean follows from each one's."""
    same_round = [rounds[number - 1] for rounds in seeds if len(rounds) >= number]
    half = math.hypot(*((figures["ci"][1] - figures["ci"][0]) / 2 for figures in same_round)) / len(
        same_round
    )
    win = fmean(figures["win_rate_vs_first"] for figures in same_round)
    return {
        "round": number,
        "win_rate": win,
        "low": win - half,
        "high": win + half,
        "each": [figures["win_rate_vs_first"] for figures in same_round],
        **{
            name: fmean(figures[name] for figures in same_round)
            for name in ("rm_accuracy", "rm_ceiling", "kl", "helped_harm", "helped_harm_at_first")
        },
        "promoted": sum(figures["promoted"] for figures in same_round),
        "seeds": len(same_round),
    }


def curves(recipes: list[dict[str, Any]]) -> list[Curve]:
    """By round, of each recipe: the win rate, which is one half at first, and how often harmful requests are
    followed."""
    drawn = []
    for recipe in recipes:
        rounds = recipe["rounds"]
        wins = [(0.0, 0.5), *((row["round"], row["win_rate"]) for row in rounds)]
        harm = [
            (0.0, rounds[0]["helped_harm_at_first"]),
            *((row["round"], row["helped_harm"]) for row in rounds),
        ]
        drawn += [Curve(f"{recipe['recipe']}: wins", wins), Curve(f"{recipe['recipe']}: harm", harm)]
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", default="dpo,llama2")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--report", action="store_true", help="play nothing: report on what is done")
    options = parser.parse_args()
    results_by_recipe = []
    for recipe in options.recipes.split(","):
        played = []
        for seed in map(int, options.seeds.split(",")):
            rounds = read(recipe, seed)
            if len(rounds) < options.rounds and not options.report:
                rounds = play(recipe, seed, options.rounds)
            played += [rounds] if rounds else []
        if played:
            most = max(map(len, played))
            rows = [averaged(number, played) for number in range(1, most + 1)]
            results_by_recipe.append({"recipe": recipe, "rounds": rows})
            for row in rows:
                print(recipe, json.dumps(row), flush=True)
    if results_by_recipe:
        results.save("rounds", {"about": results.about({}), "recipes": results_by_recipe})
        write_plot(results.ROUNDS, curves(results_by_recipe), across="round", up="share of held-out prompts")
        results.write_report()


if __name__ == "__main__":
    main()
