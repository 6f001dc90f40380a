"""Asking is shown: whether people are asked less where prompts are chosen, rather than drawn evenly.

    python -m benchmarks.asking [--seeds 0,1,2] [--draws 2] [--strategies …] [--report]

For each seed: the first policy of the demo's world answers a pool of prompts four times each, and simulated people rank the
answers. A first reward model learns from an even draw; then each strategy of `training.selection` chooses what is asked
next, from twice as many prompts and with the control share that a round has, the reward model is trained anew from all that
was asked, and so on. What is measured is how often the model orders two answers as the hidden taste does, and as people do,
on held-out prompts that no strategy may ask about. The second opinion learns, as in a round, from judgments of its own.

All of it are job directories under var/asking, done by `python -m training.core` without Django; a job that is done is not
done again. `--report` only reads what is there.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import results
from benchmarks.learning import World, do
from benchmarks.plot import Curve, write_plot
from benchmarks.workloads import ROOT
from training import selection
from training.demo import settings
from training.demo.taste import Annotator, utility
from training.recipes import RoundSettings

PLACE = ROOT / "var" / "asking"
POINTS = (100, 200, 300, 450, 600)
"""Rankings that the reward model has learned from, each time it is measured."""
CANDIDATES = 2
"""Prompts that the policy answers for each that is asked, as in a round."""
POOL = POINTS[0] + CANDIDATES * (POINTS[-1] - POINTS[0])
SECOND = POINTS[-1] // 4
"""Prompts whose judgments only the second opinion learns from: a fifth of all, as in a round."""
TEST = 240
JUDGES = 6
"""People who rank the answers to each of the prompts that the reward models are measured on."""
STRATEGIES = selection.STRATEGIES


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


def needed(curve: Sequence[tuple[float, float]], level: float) -> float | None:
    """The number of judgments with which a curve of (judgments, accuracy) first reaches a level, between two points as on
    a straight line; None where it does not."""
    if curve[0][1] >= level:
        return curve[0][0]
    for (before, low), (after, high) in pairwise(curve):
        if low < level <= high:
            return before + (after - before) * (level - low) / (high - low)
    return None


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
            number: [
                utility(self.rows[number]["prompt"], text) for text in self.rows[number]["responses"]
            ]
            for number in self.test
        }

    def learn(self, folder: Path, asked: Sequence[int], seed: int) -> Path:
        """A reward model from the judgments of some prompts."""
        rows = [self.rows[number] | {"ranks": self.by_people[number][0], "split": "train"} for number in asked]
        return do(folder, "reward", settings.REWARD | {"seed": seed}, rows, model=self.first)

    def score(self, folder: Path, model: Path, numbers: Sequence[int]) -> dict[int, list[float]]:
        """What a reward model makes of the answers to some prompts."""
        rows = [self.rows[number] | {"split": "held_out"} for number in numbers]
        output = do(folder, "evaluate", {"threads": 1, "max_length": 256}, rows, reward_model=model)
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
        rng = random.Random(f"{self.seed} {draw}")  # noqa: S311 - a draw to be repeated, not a secret
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
            if strategy in selection.TWO_MODELS and batch:
                apart = folder.with_name(f"second-{count}")
                second = self.learn(apart, self.apart[: count // 4], seed=draw)
                opinions.append(self.score(apart / "scores", second, candidates))
            weights = {
                number: selection.worth(strategy, [scores[number] for scores in opinions])
                for number in candidates
            }
            drawn = selection.draw(weights, batch, control_share=RoundSettings().control_share, rng=rng)
            asked = [*asked, *(one.key for one in drawn)]
        return points
