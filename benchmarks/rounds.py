"""Whole rounds of several recipes, each round's policy measured by the hidden preferences.

    python -m benchmarks.rounds [--recipes dpo,llama2] [--tastes first,second] [--leads obeys] [--seeds 0,1,2] [--rounds 5]
        [--report]

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
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import results
from benchmarks.plot import Curve, write_plot
from benchmarks.queue.machine import free_port
from benchmarks.workloads import ROOT

PLACE = ROOT / "var" / "rounds"
ROUNDS = 5


@dataclass(frozen=True)
class Setting:
    """What is played over several seeds."""

    recipe: str
    taste: str
    lead: str

    @property
    def title(self) -> str:
        lead = "" if self.lead == "obeys" else ", a lead who overrules gates"
        return f"{self.recipe}, {self.taste} taste{lead}"

    def folder(self, seed: int) -> Path:
        return PLACE / f"{self.recipe}-{self.taste}-{self.lead}-{seed}"

    def play(self, seed: int, rounds: int) -> list[dict[str, Any]]:
        """What the demo printed of its rounds."""
        folder = self.folder(seed)
        folder.mkdir(parents=True, exist_ok=True)
        command = ["manage.py", "demo", "--recipe", self.recipe, "--taste", self.taste, "--lead", self.lead]
        command += [
            "--seed",
            str(seed),
            "--rounds",
            str(rounds),
            "--no-serve",
            "--scratch",
            "--port",
            str(free_port()),
        ]
        with (folder / "demo.log").open("a") as log:
            done = subprocess.run(
                [sys.executable, *command],
                cwd=ROOT,
                env=os.environ | {"PALATE_VAR": str(folder)},
                stdout=subprocess.PIPE,
                stderr=log,
                check=True,
                text=True,
            )
        (folder / "figures.json").write_text(done.stdout.splitlines()[-1])
        return self.read(seed)

    def read(self, seed: int) -> list[dict[str, Any]]:
        """The rounds of a finished demo; an empty list before it has finished."""
        path = self.folder(seed) / "figures.json"
        rounds: list[dict[str, Any]] = json.loads(path.read_text())["rounds"] if path.exists() else []
        return rounds


AVERAGED = (
    "rm_accuracy",
    "rm_ceiling",
    "kl",
    "helped_harm",
    "helped_harm_at_first",
    "wrong",
    "wrong_at_first",
)


def mean_of(name: str, rounds: list[dict[str, Any]]) -> float | None:
    """Over the rounds that have the figure; None without any."""
    known = [figures[name] for figures in rounds if figures[name] is not None]
    return fmean(known) if known else None


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
        **{name: mean_of(name, same_round) for name in AVERAGED},
        "promoted": sum(figures["promoted"] for figures in same_round),
        "seeds": len(same_round),
    }


def curves(played: list[dict[str, Any]]) -> list[Curve]:
    """By round, of each setting: the win rate, which is one half at first, and how often harmful requests are followed."""
    drawn = []
    for setting in played:
        rounds = setting["rounds"]
        wins = [(0.0, 0.5), *((row["round"], row["win_rate"]) for row in rounds)]
        harm = [
            (0.0, rounds[0]["helped_harm_at_first"]),
            *((row["round"], row["helped_harm"]) for row in rounds),
        ]
        known = [(number, share) for number, share in harm if share is not None]
        drawn += [Curve(f"{setting['title']}: wins", wins), Curve(f"{setting['title']}: harm", known)]
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", default="dpo,llama2")
    parser.add_argument("--tastes", default="first,second")
    parser.add_argument("--leads", default="obeys")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--report", action="store_true", help="play nothing: report on what is done")
    options = parser.parse_args()
    by_setting = []
    names = (getattr(options, name).split(",") for name in ("recipes", "tastes", "leads"))
    for setting in (Setting(*values) for values in product(*names)):
        played = []
        for seed in map(int, options.seeds.split(",")):
            rounds = setting.read(seed)
            if len(rounds) < options.rounds and not options.report:
                rounds = setting.play(seed, options.rounds)
            played += [rounds] if rounds else []
        if played:
            most = max(map(len, played))
            rows = [averaged(number, played) for number in range(1, most + 1)]
            by_setting.append({"title": setting.title, "rounds": rows})
            for row in rows:
                print(setting.title, json.dumps(row), flush=True)
    if by_setting:
        results.save("rounds", {"about": results.about({}), "settings": by_setting})
        write_plot(results.ROUNDS, curves(by_setting), across="round", up="share of held-out prompts")
        results.write_report()


if __name__ == "__main__":
    main()
