"""Asking is shown: whether people are asked less where prompts are chosen, rather than drawn evenly.

    python -m benchmarks.asking [--seeds 1,2,3] [--draws 2] [--report]

For each seed: the first policy of the demo's world answers a pool of prompts four times each, and simulated people rank the
answers. A first reward model learns from an even draw; then each strategy of `training.rounds.active_learning` chooses what is
asked next, from twice as many prompts and with the control share that a round has, the reward model is trained anew from all that
was asked, and so on. What is measured is how often the model orders two answers as the hidden taste does, and as people do,
on held-out prompts that no strategy may ask about. The second opinion learns, as in a round, from judgments of its own.

All of it are job directories under var/asking, done by `python -m training.core` without Django; a job that is done is not
done again. `--report` only reads what is there.
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
from benchmarks.learning import World, do
from benchmarks.plot import Curve, write_plot
from benchmarks.workloads import ROOT
from training.demo import run_settings
from training.demo.taste import Annotator, utility
from training.rounds import active_learning
from training.rounds.settings import RoundSettings

PLACE = ROOT / "var" / "asking"
POINTS = (60, 120, 180, 240, 320)
"""Rankings that the reward model has learned from, each time it is measured."""
CANDIDATES = 2
"""Prompts that the policy answers for each that is asked, as in a round."""
POOL, SECOND, TEST = 1100, 150, 240
"""Prompts to ask about, those whose judgments only the second opinion learns from, and those that all is measured on."""
SECOND_SHARE = 0.25
"""Judgments of the second opinion for each of the reward model's: a fifth of all, as in a round."""
JUDGES = 6
"""People who rank the answers to each of the prompts that the reward models are measured on."""


@dataclass(frozen=True)
class Measured:
    """How often a reward model orders two answers to a held-out prompt as the taste does, where that tells them apart, and
    as people do, where they do."""

    judgments: int
    by_taste: float
    by_people: float


def ordered(rewards: Sequence[float], worth: Sequence[float]) -> tuple[int, int]:
    """How many pairs the rewards put in the order of what the answers are worth, of how many that differ in worth."""
    pairs = [(i, j) for i, j in combinations(range(len(worth)), 2) if worth[i] != worth[j]]
    return sum((rewards[i] - rewards[j]) * (worth[i] - worth[j]) > 0 for i, j in pairs), len(pairs)


def share(counts: Sequence[tuple[int, int]]) -> float:
    return sum(right for right, _ in counts) / sum(pairs for _, pairs in counts)


def needed(ours: Sequence[tuple[float, float]], even: Sequence[tuple[float, float]]) -> float | None:
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


class Village(World):
    """A world with the judgments that its people would give, were they asked."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, PLACE, prompts=POOL + SECOND, held_out=TEST)

    def prepare(self) -> None:
        self.learn_language()
        asked = [*self.prompts, *self.held_out]
        answers = self.answers("answers", self.first, asked, seed=self.seed)
        self.rows: dict[int, dict[str, Any]] = {}
        self.by_people: dict[int, list[list[int]]] = {}
        for number, exchange in enumerate(asked):
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
        self.apart = [number for number in self.rows if POOL <= number < POOL + SECOND]
        self.test = [number for number in self.rows if number >= POOL + SECOND]

    @cached_property
    def worth(self) -> dict[int, list[float]]:
        """What the taste makes of the answers to the prompts that are measured on."""
        return {
            number: [utility(self.rows[number]["prompt"], text) for text in self.rows[number]["responses"]]
            for number in self.test
        }

    def has_followed(self, draw: int) -> bool:
        """Whether all strategies are done."""
        last = (self.folder / f"draw-{draw}" / f"{one}-{POINTS[-1]}" for one in active_learning.STRATEGIES)
        return all((folder / "scores" / "done.json").exists() for folder in last)

    def learn(self, folder: Path, asked: Sequence[int], seed: int) -> Path:
        """A reward model from the judgments of some prompts."""
        rows = [
            self.rows[number] | {"ranks": self.by_people[number][0], "split": "train"} for number in asked
        ]
        return do(folder, "reward", run_settings.REWARD | {"seed": seed}, rows, here=True, model=self.first)

    def score(self, folder: Path, model: Path, numbers: Sequence[int]) -> dict[int, list[float]]:
        """What a reward model makes of the answers to some prompts."""
        rows = [self.rows[number] | {"split": "held_out"} for number in numbers]
        config = {"threads": 1, "max_length": 256}
        output = do(folder, "evaluate", config, rows, here=True, reward_model=model)
        found = [json.loads(line) for line in (output / "scores.jsonl").read_text().splitlines()]
        return {line["id"]: line["rewards"] for line in found}

    def measured(self, judgments: int, scores: dict[int, list[float]]) -> Measured:
        by_taste = [ordered(scores[number], self.worth[number]) for number in self.test]
        by_people = [
            ordered(scores[number], [-rank for rank in ranks])
            for number in self.test
            for ranks in self.by_people[number]
        ]
        return Measured(judgments, share(by_taste), share(by_people))

    def follow(self, strategy: str, draw: int) -> list[Measured]:
        """A strategy from its first judgments to its last, measured at each of POINTS. A draw is an order of the pool: all
        strategies begin with the same prompts of it, and choose from the same ones."""
        rng = random.Random(f"{self.seed} {draw}")
        waiting = rng.sample(self.pool, len(self.pool))
        asked, waiting = waiting[: POINTS[0]], waiting[POINTS[0] :]
        points = []
        for count, after in zip(POINTS, (*POINTS[1:], None), strict=True):
            # the first judgments are the same for all
            folder = self.folder / f"draw-{draw}" / (f"{strategy}-{count}" if points else f"{count}")
            model = self.learn(folder, asked, seed=draw)
            batch = (after or count) - count
            candidates, waiting = waiting[: CANDIDATES * batch], waiting[CANDIDATES * batch :]
            scores = self.score(folder / "scores", model, [*self.test, *candidates])
            points.append(self.measured(count, scores))
            opinions = [scores]
            if strategy == "disagreement" and batch:
                apart = folder.with_name(f"second-{count}")
                second = self.learn(apart, self.apart[: int(SECOND_SHARE * count)], seed=draw)
                opinions.append(self.score(apart / "scores", second, candidates))
            weights = {
                number: active_learning.worth(strategy, [scores[number] for scores in opinions])
                for number in candidates
            }
            drawn = active_learning.draw(weights, batch, control_share=RoundSettings().control_share, rng=rng)
            asked = [*asked, *(one.key for one in drawn)]
        return points


Draws = Sequence[Sequence[Measured]]
"""What was measured in each draw of each seed."""
Found = dict[str, list[list[Measured]]]
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


def compared(found: Found) -> list[dict[str, Any]]:
    """A strategy a row: its accuracies, how far it is ahead of an even draw that began alike, as a mean over all points
    after the first, and the share of the judgments that it needs to get where an even draw gets with all."""
    rows = []
    for strategy, draws in found.items():
        row: dict[str, Any] = {"strategy": strategy, "draws": len(draws)}
        for measure in MEASURES:
            ours, even = ([curve([draw], measure) for draw in those] for those in (draws, found["uniform"]))
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
                "share": needed(curve(draws, measure), curve(found["uniform"], measure)),
                "share_interval": spread(draws, found["uniform"], measure),
            }
        rows.append(row)
    return rows


def spread(ours: Draws, even: Draws, measure: str, times: int = 2000) -> tuple[float | None, float | None]:
    """Between what 95% of the shares lie, when the draws are drawn again from themselves; None: past all bounds."""
    rng = random.Random(0)
    shares = []
    for _ in range(times):
        again = rng.choices(range(len(ours)), k=len(ours))
        share = needed(*(curve([draws[place] for place in again], measure) for draws in (ours, even)))
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
    found: Found = defaultdict(list)
    villages = [Village(int(seed)) for seed in options.seeds.split(",")]
    if options.report:
        villages = [village for village in villages if village.has_followed(0)]
    for village in villages:
        village.prepare()
    for draw in range(options.draws):
        for village in villages:
            if options.report and not village.has_followed(draw):
                continue
            for strategy in active_learning.STRATEGIES:
                points = village.follow(strategy, draw)
                found[strategy].append(points)
                said = ", ".join(
                    f"{point.judgments}: {point.by_people:.3f} {point.by_taste:.3f}" for point in points
                )
                print(f"seed {village.seed}, draw {draw}, {strategy}: {said}", flush=True)
    rows = compared(found)
    results.save(
        "asking",
        {
            "about": results.about({}),
            "judgments": POINTS,
            "seeds": len(villages),
            "control_share": RoundSettings().control_share,
            "rows": rows,
        },
    )
    write_plot(
        results.ASKING,
        [Curve(row["strategy"], [point[:2] for point in row["by_people"]["curve"]]) for row in rows],
        across="rankings that the reward model learned from",
        up="held-out pairs in the order that people gave them",
    )
    results.write_report()
    print(json.dumps({row["strategy"]: row["by_people"]["share"] for row in rows}))


if __name__ == "__main__":
    main()
