"""One seed of `benchmarks.feedback`: its prompts, its first policy, its people and its judges, and how policies are measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from annotation.logic import judge_trust
from annotation.logic.judge_trust import JudgedPair
from benchmarks.learning import World, run_job
from benchmarks.workloads import ROOT
from training.demo import metrics
from training.demo.annotators import Annotator
from training.demo.constitution import PRINCIPLES
from training.demo.language import Exchange
from training.demo.preferences import utility

PLACE = ROOT / "var" / "feedback"
Row = dict[str, Any]

ROUND_PROMPTS, OVERLAP, HELD_OUT = 700, 100, 160
"""Prompts of a round, those of them that two people judge to measure the judge, and held-out ones to measure policies."""
ROUNDS = 2
PEOPLE = 6
JUDGE: dict[str, Any] = {"threads": 1, "max_length": 256, "mode": "comment"}


class FeedbackWorld(World):
    """One seed's prompts, first policy, people and judges."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, PLACE, prompts=ROUNDS * ROUND_PROMPTS, held_out=HELD_OUT)
        self.learn_language()
        self.people = [Annotator(seed * 1000 + number) for number in range(PEOPLE)]
        self.first_answers = self.held_out_answers("first", self.first)

    # --- answers and labels ---

    def round_answers(self, name: str, policy: Path, number: int) -> dict[int, list[str]]:
        """Different answers to each prompt of a round, of at least two, by the prompt's number."""
        start = number * ROUND_PROMPTS
        texts = self.answers(
            name, policy, self.prompts[start : start + ROUND_PROMPTS], seed=self.seed + number
        )
        different = {place: list(dict.fromkeys(answers)) for place, answers in texts.items()}
        return {start + place: answers for place, answers in different.items() if len(answers) > 1}

    def rank(self, answers: dict[int, list[str]], prompts: Sequence[int], *, person: int = 0) -> list[Row]:
        """A ranking of each prompt's answers, by one person; `person` moves who it is."""
        rows = []
        for place in prompts:
            annotator = self.people[(place + person) % PEOPLE]
            messages = self.prompts[place].messages
            ranks = annotator.rank(messages, answers[place])
            rows.append(self._row(place, answers[place]) | {"ranks": ranks})
        return rows

    def _row(self, place: int, responses: list[str]) -> Row:
        exchange = self.prompts[place]
        return {
            "id": place,
            "prompt": exchange.messages,
            "responses": responses,
            "tags": [exchange.request.form],
        }

    def opinions(
        self, name: str, answers: dict[int, list[str]], *, principles: list[Row] = PRINCIPLES
    ) -> dict[int, list[Row]]:
        """The judge's opinions on each prompt's answers."""
        rows = [self._row(place, responses) for place, responses in answers.items()]
        output = run_job(
            self.folder / name, "judge", JUDGE, rows, job={"principles": principles}, model=self.base
        )
        lines = map(json.loads, (output / "opinions.jsonl").read_text().splitlines())
        return {line["id"]: line["opinions"] for line in lines}

    def overlap_pairs(
        self, answers: dict[int, list[str]], opinions: dict[int, list[Row]], prompts: Sequence[int]
    ) -> list[JudgedPair]:
        """The pairs that two people ordered, with the judge's opinions."""
        rankings = [self.rank(answers, prompts, person=person) for person in (0, 1)]
        pairs = []
        for rows in zip(*rankings, strict=True):
            place = rows[0]["id"]
            for opinion in opinions[place]:
                i, j = opinion["first"], opinion["second"]
                first = sum(row["ranks"][i] < row["ranks"][j] for row in rows)
                second = sum(row["ranks"][i] > row["ranks"][j] for row in rows)
                if first + second:
                    pairs.append(JudgedPair(place, opinion["p"], first, second))
        return pairs

    def soft_rows(
        self,
        answers: dict[int, list[str]],
        opinions: dict[int, list[Row]],
        prompts: Sequence[int],
        scale: float,
        weight: float,
    ) -> list[Row]:
        return [
            self._row(place, answers[place])
            | {
                "pairs": [
                    [opinion["first"], opinion["second"], judge_trust.recalibrated(opinion["p"], scale)]
                    for opinion in opinions[place]
                ],
                "weight": weight,
            }
            for place in prompts
            if weight and opinions.get(place)
        ]

    # --- figures ---

    def held_out_answers(self, name: str, policy: Path) -> list[metrics.SampledResponse]:
        texts = self.answers(f"{name}-held-out", policy, self.held_out, seed=1)
        return [
            metrics.SampledResponse(self.seed * 100_000 + place, self.held_out[place].messages, text)
            for place, answers in texts.items()
            for text in answers
        ]

    def figures(self, name: str, policy: Path) -> Row:
        """Win rate over the first policy, harm, needless refusals and mean taste, on held-out prompts."""
        answers = self.held_out_answers(name, policy)
        win = metrics.win_rate(answers, self.first_answers)
        harmless = [answer for answer in answers if self._form(answer) != "harmful"]
        old = [answer for answer in self.first_answers if self._form(answer) != "harmful"]
        return {
            "win": win.mean,
            "low": win.low,
            "high": win.high,
            "helpful_win": metrics.win_rate(harmless, old).mean,
            "harm": metrics.habits(answers)["helped harm"],
            "refused_help": fmean("i can't help" in answer.text.lower() for answer in harmless),
            "taste": fmean(utility(answer.prompt, answer.text) for answer in answers),
        }

    def _form(self, answer: metrics.SampledResponse) -> str:
        return self.held_out[answer.prompt_id - self.seed * 100_000].request.form

    def train(self, name: str, kind: str, config: Row, rows: list[Row], **models: Any) -> Path:
        return run_job(self.folder / name, kind, config | {"seed": self.seed}, rows, **models)

    def rollout_rows(self, exchanges: Sequence[Exchange]) -> list[Row]:
        """Prompts to sample for, and held-out ones to evaluate on."""
        rows = [
            {"id": place, "prompt": exchange.messages, "tags": [exchange.request.form]}
            for place, exchange in enumerate(exchanges)
        ]
        held_out = [
            {
                "id": -1 - place,
                "prompt": exchange.messages,
                "tags": [exchange.request.form],
                "split": "held_out",
            }
            for place, exchange in enumerate(self.held_out[:64])
        ]
        return [*rows, *held_out]
