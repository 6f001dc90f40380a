"""Active learning: whether choosing which prompts to label saves judgments over a uniform sample.

    python -m benchmarks.active_learning [--seeds 1,2,3] [--draws 2] [--report]

For each seed: the first policy of the demo's world answers a pool of prompts four times each, and simulated people rank the
answers. A first reward model learns from a uniform sample; then each strategy of `training.rounds.active_learning` chooses what
is labeled next, from twice as many prompts and with the random sample that a round has, the reward model is trained again on all
labels, and so on. Measured is how often the model orders two answers as the hidden preferences do, and as people do, on held-out
prompts that no strategy may choose. The second reward model learns, as in a round, from judgments of its own.

Everything is a job directory under var/active-learning, run by `python -m training.core` without Django; finished jobs are not
run again. `--report` only reads finished ones.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from statistics import fmean, linear_regression, stdev
from typing import Any

from benchmarks import results
from benchmarks.learning import World, run_job
from benchmarks.plot import Curve, write_plot
from benchmarks.workloads import ROOT
from training.demo import run_settings
from training.demo.annotators import Annotator
from training.demo.preferences import utility
from training.rounds import active_learning
from training.rounds.settings import RoundSettings

PLACE = ROOT / "var" / "active-learning"
POINTS = (60, 120, 180, 240, 320)
"""Numbers of rankings at which the reward model is measured."""
CANDIDATES = 2
"""Candidate prompts per labeled prompt, as in a round."""
POOL, SECOND, TEST = 1100, 150, 240
"""Prompts to choose from, those that only the second reward model learns from, and those that accuracy is measured on."""
SECOND_SHARE = 0.25
"""Judgments of the second reward model for each of the reward model's: a fifth of all, as in a round."""
JUDGES = 6
"""People who rank the answers to each of the prompts that the reward models are measured on."""


@dataclass(frozen=True)
class Accuracy:
    """How often a reward model orders two answers to a held-out prompt as the hidden preferences do, and as people do, ties
    left out."""

    judgments: int
    by_taste: float
    by_people: float


def count_ordered(rewards: Sequence[float], worth: Sequence[float]) -> tuple[int, int]:
    """How many pairs the rewards put in the order of what the answers are worth, of how many that differ in worth."""
    pairs = [(i, j) for i, j in combinations(range(len(worth)), 2) if worth[i] != worth[j]]
    return sum((rewards[i] - rewards[j]) * (worth[i] - worth[j]) > 0 for i, j in pairs), len(pairs)


def accuracy_of(counts: Sequence[tuple[int, int]]) -> float:
    return sum(right for right, _ in counts) / sum(pairs for _, pairs in counts)


def relative_cost(ours: Sequence[tuple[float, float]], even: Sequence[tuple[float, float]]) -> float | None:
    """The share of an even draw's judgments with which we are as accurate as it is with all, both (judgments, accuracy)
    read as straight lines over the logarithm of judgments, as no single reward model is to be trusted. None where ours
    does not rise."""
    rise, start = line(ours)
    even_rise, even_start = line(even)
    last = math.log(even[-1][0])
    return math.exp((even_start + even_rise * last - start) / rise - last) if rise > 0 else None


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Rise and start of the straight line through (judgments, accuracy), over the logarithm of judgments."""
    fitted = linear_regression([math.log(x) for x, _ in points], [y for _, y in points])
    return fitted.slope, fitted.intercept


class LabeledWorld(World):
    """A world with a simulated judgment for every prompt."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, PLACE, prompts=POOL + SECOND, held_out=TEST)

    def prepare(self) -> None:
        self.learn_language()
        chosen = [*self.prompts, *self.held_out]
        answers = self.answers("answers", self.first, chosen, seed=self.seed)
        self.rows: dict[int, dict[str, Any]] = {}
        self.by_people: dict[int, list[list[int]]] = {}
        for number, exchange in enumerate(chosen):
            responses = list(dict.fromkeys(answers[number]))
            if len(responses) > 1:
                # who judges a prompt, and how, is the same whichever strategy asks
                people = [
                    Annotator(seed=(self.seed * 10_000 + number) * JUDGES + turn) for turn in range(JUDGES)
                ]
                ranks = [person.rank(exchange.messages, responses) for person in people]
                self.rows[number] = {"id": number, "prompt": exchange.messages, "responses": responses}
                self.by_people[number] = ranks
        self.pool = [number for number in self.rows if number < POOL]
        self.second_pool = [number for number in self.rows if POOL <= number < POOL + SECOND]
        self.test = [number for number in self.rows if number >= POOL + SECOND]

    @cached_property
    def worth(self) -> dict[int, list[float]]:
        """What the taste makes of the answers to the prompts that are measured on."""
        return {
            number: [utility(self.rows[number]["prompt"], text) for text in self.rows[number]["responses"]]
            for number in self.test
        }

    def is_finished(self, draw: int) -> bool:
        """Whether all strategies are done."""
        last = (
            self.folder / f"draw-{draw}" / f"{strategy}-{POINTS[-1]}"
            for strategy in active_learning.STRATEGIES
        )
        return all((folder / "scores" / "done.json").exists() for folder in last)

    def learn(self, folder: Path, chosen: Sequence[int], seed: int) -> Path:
        """A reward model from the judgments of some prompts."""
        rows = [
            self.rows[number] | {"ranks": self.by_people[number][0], "split": "train"} for number in chosen
        ]
        return run_job(
            folder, "reward", run_settings.REWARD | {"seed": seed}, rows, here=True, model=self.first
        )

    def score(self, folder: Path, model: Path, numbers: Sequence[int]) -> dict[int, list[float]]:
        """What a reward model makes of the answers to some prompts."""
        rows = [self.rows[number] | {"split": "held_out"} for number in numbers]
        config = {"threads": 1, "max_length": 256}
        output = run_job(folder, "evaluate", config, rows, here=True, reward_model=model)
        lines = [json.loads(line) for line in (output / "scores.jsonl").read_text().splitlines()]
        return {line["id"]: line["rewards"] for line in lines}

    def accuracy(self, judgments: int, scores: dict[int, list[float]]) -> Accuracy:
        by_taste = [count_ordered(scores[number], self.worth[number]) for number in self.test]
        by_people = [
            count_ordered(scores[number], [-rank for rank in ranks])
            for number in self.test
            for ranks in self.by_people[number]
        ]
        return Accuracy(judgments, accuracy_of(by_taste), accuracy_of(by_people))

    def run_strategy(self, strategy: str, draw: int) -> list[Accuracy]:
        """A strategy from its first judgments to its last, measured at each of POINTS. A draw is an order of the pool: all
        strategies begin with the same prompts of it, and choose from the same ones."""
        rng = random.Random(f"{self.seed} {draw}")
        waiting = rng.sample(self.pool, len(self.pool))
        chosen, waiting = waiting[: POINTS[0]], waiting[POINTS[0] :]
        points = []
        for count, after in zip(POINTS, (*POINTS[1:], None), strict=True):
            # the first judgments are the same for all
            folder = self.folder / f"draw-{draw}" / (f"{strategy}-{count}" if points else f"{count}")
            model = self.learn(folder, chosen, seed=draw)
            batch = (after or count) - count
            candidates, waiting = waiting[: CANDIDATES * batch], waiting[CANDIDATES * batch :]
            scores = self.score(folder / "scores", model, [*self.test, *candidates])
            points.append(self.accuracy(count, scores))
            opinions = [scores]
            if strategy == "disagreement" and batch:
                apart = folder.with_name(f"second-{count}")
                second = self.learn(apart, self.second_pool[: int(SECOND_SHARE * count)], seed=draw)
                opinions.append(self.score(apart / "scores", second, candidates))
            weights = {
                number: active_learning.weight(strategy, [scores[number] for scores in opinions])
                for number in candidates
            }
            drawn = active_learning.draw(weights, batch, control_share=RoundSettings().control_share, rng=rng)
            chosen = [*chosen, *(choice.key for choice in drawn)]
        return points


Draws = Sequence[Sequence[Accuracy]]
"""What was measured in each draw of each seed."""
DrawsByStrategy = dict[str, list[list[Accuracy]]]
MEASURES = ("by_people", "by_taste")


def curve(draws: Draws, measure: str) -> list[tuple[float, float]]:
    """(judgments, accuracy), means over draws."""
    return [
        (points[0].judgments, fmean(getattr(point, measure) for point in points))
        for points in zip(*draws, strict=True)
    ]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of a few values with its 95% confidence interval, by Student's t (its quantile as a series in 1/n)."""
    n, z = len(values) - 1, 1.96
    t = z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    half = t * stdev(values) / math.sqrt(len(values))
    return fmean(values), fmean(values) - half, fmean(values) + half


def compare(draws_by_strategy: DrawsByStrategy) -> list[dict[str, Any]]:
    """A strategy a row: its accuracies, how far it is ahead of an even draw that began alike, as a mean over all points
    after the first, and the share of the judgments that it needs to get where an even draw gets with all."""
    rows = []
    for strategy, draws in draws_by_strategy.items():
        row: dict[str, Any] = {"strategy": strategy, "draws": len(draws)}
        for measure in MEASURES:
            ours, even = (
                [curve([draw], measure) for draw in those] for those in (draws, draws_by_strategy["uniform"])
            )
            row[measure] = {
                "curve": [
                    (points[0][0], *interval([accuracy for _, accuracy in points]))
                    for points in zip(*ours, strict=True)
                ],
                "ahead": interval(
                    [
                        fmean(a - b for (_, a), (_, b) in zip(mine[1:], other[1:], strict=True))
                        for mine, other in zip(ours, even, strict=True)
                    ]
                ),
                "share": relative_cost(curve(draws, measure), curve(draws_by_strategy["uniform"], measure)),
                "share_interval": relative_cost_interval(draws, draws_by_strategy["uniform"], measure),
            }
        rows.append(row)
    return rows


def relative_cost_interval(
    ours: Draws, even: Draws, measure: str, times: int = 2000
) -> tuple[float | None, float | None]:
    """Between what 95% of the shares lie, when the draws are drawn again from themselves; None: past all bounds."""
    rng = random.Random(0)
    shares = []
    for _ in range(times):
        again = rng.choices(range(len(ours)), k=len(ours))
        share = relative_cost(*(curve([draws[place] for place in again], measure) for draws in (ours, even)))
        shares.append(math.inf if share is None else share)
    low, high = (sorted(shares)[round(at * (times - 1))] for at in (0.025, 0.975))
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--draws", type=int, default=2, help="orders of the pool, for each seed")
    parser.add_argument("--report", action="store_true", help="train nothing: report on what is done")
    options = parser.parse_args()
    draws_by_strategy: DrawsByStrategy = defaultdict(list)
    worlds = [LabeledWorld(int(seed)) for seed in options.seeds.split(",")]
    if options.report:
        worlds = [world for world in worlds if world.is_finished(0)]
    for world in worlds:
        world.prepare()
    for draw in range(options.draws):
        for world in worlds:
            if options.report and not world.is_finished(draw):
                continue
            for strategy in active_learning.STRATEGIES:
                points = world.run_strategy(strategy, draw)
                draws_by_strategy[strategy].append(points)
                summary = ", ".join(
                    f"{point.judgments}: {point.by_people:.3f} {point.by_taste:.3f}" for point in points
                )
                print(f"seed {world.seed}, draw {draw}, {strategy}: {summary}", flush=True)
    rows = compare(draws_by_strategy)
    results.save(
        "active_learning",
        {
            "about": results.about({}),
            "judgments": POINTS,
            "seeds": len(worlds),
            "control_share": RoundSettings().control_share,
            "rows": rows,
        },
    )
    write_plot(
        results.ACTIVE_LEARNING,
        [Curve(row["strategy"], [point[:2] for point in row["by_people"]["curve"]]) for row in rows],
        across="rankings that the reward model learned from",
        up="held-out pairs in the order that people gave them",
    )
    results.write_report()
    print(json.dumps({row["strategy"]: row["by_people"]["share"] for row in rows}))


if __name__ == "__main__":
    main()
