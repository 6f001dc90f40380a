"""Settings of a round, tried on the demo's rounds without the site: what brings reward models near their noise ceiling, and
what keeps a policy harmless and right.

    python -m benchmarks.loop_settings [--seeds 0,1] [--policies default,nll-replay] [--rewards default,base-2] [--rounds 2,4]
        [--taste first]

In each round the policy answers prompts, simulated people rank the answers, and DPO on the judgments gives the next policy: a
chain of policies for each of `POLICIES`, measured by the hidden preferences on held-out prompts. Each of `REWARDS` trains a
reward model on the judgments of rounds 1 to n of the chain `default`, and is measured on the held-out answers of round n: how
often people would agree with it, beside how often they would agree with the best model. Both are expectations over people, by
the noise of the simulated ones, so that only prompts and training leave chance to the figures.

Everything is a job directory under var/loop-settings, done by `python -m training.core` without Django; finished jobs are not
run again.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import results
from benchmarks.learning import World, run_job
from benchmarks.workloads import ROOT
from training.demo import metrics, run_settings
from training.demo.annotators import Annotator
from training.demo.language import parse_prompt
from training.demo.preferences import TASTES, utility

PLACE = ROOT / "var" / "loop-settings"
ROUNDS = 5
TRAIN, HELD_OUT = run_settings.PROMPTS_PER_ROUND, 280
"""Prompts of a round; held out are more than the demo's, for narrower intervals."""
COMPARISONS = 0.15
PEOPLE = 6
NOISE = Annotator(0).noise


@dataclass(frozen=True)
class PolicySetting:
    """How a round's DPO differs from the paper's on the round's own judgments. replay: with earlier judgments of `harmful`
    prompts, or of `all`. start: each round's, `last` or `first`."""

    config: dict[str, Any] = field(default_factory=dict)
    replay: str = ""
    start: str = "last"


POLICIES = {
    "default": PolicySetting({"nll_weight": 0.0}),
    "nll-replay": PolicySetting({"nll_weight": 0.2}, replay="harmful"),
    "nll1-replay": PolicySetting({"nll_weight": 1.0}, replay="harmful"),
    "first-all": PolicySetting({"nll_weight": 0.2}, replay="all", start="first"),
}


@dataclass(frozen=True)
class RewardSetting:
    """start: the first policy, or the base model that it comes from. ties: tied pairs count, as preferred by one half."""

    config: dict[str, Any]
    start: str = "first"
    ties: bool = False


REWARDS = {
    "default": RewardSetting({"epochs": 1, "learning_rate": 1e-3}),
    "bf16": RewardSetting({"epochs": 1, "learning_rate": 1e-3, "precision": "bfloat16"}),
    "base": RewardSetting({"epochs": 1, "learning_rate": 1e-3}, start="base"),
    "base-lr-half": RewardSetting({"epochs": 1, "learning_rate": 5e-4}, start="base"),
    "base-2": RewardSetting({"epochs": 2, "learning_rate": 5e-4}, start="base"),
    "base-3": RewardSetting({"epochs": 3, "learning_rate": 5e-4}, start="base"),
    "base-3-ties": RewardSetting({"epochs": 3, "learning_rate": 5e-4}, start="base", ties=True),
}

Row = dict[str, Any]


def asks_for_harm(row: Row) -> bool:
    request = parse_prompt(row["prompt"][-1]["content"])
    return request is not None and request.form == "harmful"


def tied_pairs(row: Row) -> Iterator[Row]:
    """A row with a soft label of one half for each pair of equal rank."""
    for i, j in combinations(range(len(row["ranks"])), 2):
        if row["ranks"][i] == row["ranks"][j]:
            pair = [row["responses"][i], row["responses"][j]]
            yield row | {
                "id": f"{row['id']}-{i}-{j}",
                "responses": pair,
                "ranks": None,
                "degree": None,
                "probability": 0.5,
            }


class Chain(World):
    """One seed's rounds by a policy setting and a taste: the policies, and people's judgments of their answers."""

    def __init__(self, seed: int, name: str, taste: str) -> None:
        super().__init__(seed, PLACE, prompts=(ROUNDS + 1) * (TRAIN + HELD_OUT), held_out=0)
        self.setting, self.weights = POLICIES[name], TASTES[taste]
        self.own_folder = f"{name}-{taste}"

    def play(self, rounds: int) -> None:
        self.learn_language()
        self.folder = self.folder / self.own_folder
        self.policies: list[Path] = [self.first]
        self.rows: list[list[Row]] = []
        for number in range(rounds):
            self.rows.append(self._judgments(number))
            if number + 1 < rounds:
                config = run_settings.DPO | self.setting.config | {"seed": self.seed + number + 1}
                start = self.first if self.setting.start == "first" else self.policies[-1]
                folder = self.folder / f"dpo-{number + 1}"
                self.policies.append(run_job(folder, "dpo", config, self._to_learn(number), model=start))

    def _to_learn(self, number: int) -> list[Row]:
        old = [row for rows in self.rows[:number] for row in rows if row["split"] == "train"]
        replay = [row for row in old if self.setting.replay == "all" or asks_for_harm(row)]
        return [*(replay if self.setting.replay else []), *self.rows[number]]

    def _judgments(self, number: int) -> list[Row]:
        """The rankings and comparisons of a round."""
        size = TRAIN + HELD_OUT
        exchanges = self.prompts[number * size : (number + 1) * size]
        answers = self.answers(f"answers-{number}", self.policies[-1], exchanges, seed=self.seed + number)
        people = [
            Annotator(self.seed * 1000 + number * 100 + person, weights=self.weights)
            for person in range(PEOPLE)
        ]
        rng = random.Random(self.seed * 1000 + number)
        rows = []
        for place, exchange in enumerate(exchanges):
            responses = list(dict.fromkeys(answers[place]))
            if len(responses) < 2:
                continue
            is_train = place < TRAIN
            row: Row = {"id": number * size + place, "prompt": exchange.messages}
            person = people[place % PEOPLE]
            if is_train and len(responses) > 2 and rng.random() < COMPARISONS:
                responses = rng.sample(responses, 2)
                winner, degree = person.choose(exchange.messages, *responses)
                row |= {"ranks": [1, 2] if winner == 0 else [2, 1], "degree": degree}
            else:
                row["ranks"] = person.rank(exchange.messages, responses)
            rows.append(row | {"responses": responses, "split": "train" if is_train else "held_out"})
        return rows

    def figures(self, number: int) -> dict[str, float]:
        """Of the policy after `number` rounds, on the next round's held-out prompts."""
        size = TRAIN + HELD_OUT
        exchanges = self.prompts[number * size + TRAIN : (number + 1) * size]

        def responses(texts: dict[int, list[str]], offset: int) -> list[metrics.SampledResponse]:
            return [
                metrics.SampledResponse(place, exchange.messages, text)
                for place, exchange in enumerate(exchanges)
                for text in texts[place + offset]
            ]

        prompts = self.prompts[number * size : (number + 1) * size]
        answers = self.answers(f"answers-{number}", self.policies[number], prompts, seed=self.seed + number)
        new = responses(answers, TRAIN)
        old = responses(self.answers(f"first-on-{number + 1}", self.first, exchanges, seed=99), 0)
        habits = metrics.habits(new)
        return {
            "win": metrics.win_rate(new, old, self.weights).mean,
            "harm": habits["helped harm"],
            "wrong": habits["wrong"],
        }

    def reward_gap(self, name: str, number: int) -> float:
        """Expected accuracy of a reward model below the most that is possible, in points."""
        setting = REWARDS[name]
        rows = [row for rows in self.rows[:number] for row in rows if row["split"] == "train"]
        if setting.ties:
            rows += [pair for row in rows for pair in tied_pairs(row)]
        held_out = [row for row in self.rows[number - 1] if row["split"] == "held_out"]
        config = run_settings.REWARD | {"precision": "float32", "seed": self.seed} | setting.config
        start = self.base if setting.start == "base" else self.first
        folder = self.folder / f"reward-{name}-{number}"
        model = run_job(folder, "reward", config, [*rows, *held_out], model=start)
        scoring = {"threads": 1, "max_length": 256}
        folder = self.folder / f"scores-{name}-{number}"
        output = run_job(folder, "evaluate", scoring, held_out, reward_model=model)
        lines = (output / "scores.jsonl").read_text().splitlines()
        scores = {line["id"]: line["rewards"] for line in map(json.loads, lines)}
        lost = [pair_loss for row in held_out for pair_loss in self._losses(row, scores[row["id"]])]
        return 100 * fmean(lost)

    def _losses(self, row: Row, rewards: list[float]) -> Iterator[float]:
        """For each pair, how much more often people agree with the hidden preferences than with the rewards."""
        worth = [utility(row["prompt"], text, self.weights) for text in row["responses"]]
        for i, j in combinations(range(len(worth)), 2):
            agree = 1 / (1 + math.exp(-abs(worth[i] - worth[j]) / NOISE))
            yield 0.0 if (worth[i] > worth[j]) == (rewards[i] > rewards[j]) else 2 * agree - 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--taste", default="first", choices=list(TASTES))
    parser.add_argument("--rewards", default=",".join(REWARDS))
    parser.add_argument("--rounds", default="2,4", help="after which the reward models are measured")
    options = parser.parse_args()
    seeds = list(map(int, options.seeds.split(",")))
    policies = []
    for name in filter(None, options.policies.split(",")):
        for seed in seeds:
            chain = Chain(seed, name, options.taste)
            chain.play(ROUNDS)
            rows = [chain.figures(number) for number in range(1, ROUNDS)]
            title = name if options.taste == "first" else f"{name}, {options.taste} taste"
            policies.append({"setting": title, "seed": seed, "rounds": rows})
            print(name, options.taste, seed, json.dumps(rows), flush=True)
    rewards = []
    for name in filter(None, options.rewards.split(",")):
        for number in map(int, options.rounds.split(",")):
            gaps = []
            for seed in seeds:
                chain = Chain(seed, "default", options.taste)
                chain.play(number)
                gaps.append(chain.reward_gap(name, number))
            rewards.append({"setting": name, "round": number, "gaps": gaps})
            print(name, number, gaps, flush=True)
    results.save(
        "loop_settings",
        {"about": results.about({}), "taste": options.taste, "policies": policies, "rewards": rewards},
    )
    results.write_report()


if __name__ == "__main__":
    main()
