"""The judge job: a model's opinions on pairs of responses, by principles; AI feedback in place of people's judgments.

Lee et al. 2023 (RLAIF, arXiv 2309.00267): choices from the log-probs of two letters, averaged over both orders, and direct
scores; Bai et al. 2022 (constitutional AI, arXiv 2212.08073): one principle drawn for each comparison, and probabilities clamped
to 0.4 to 0.6 after a rationale. Comments are for small models.

A reading is what the judge reads at once: a response alone, or two in one order. Readings are stored as they are answered, by
a local model (`judge_local`) or a server (`judge_server`); opinions are computed from them at the end. Left out: few-shot
examples, and several principles for one comparison.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from training.configs import JudgeConfig
from training.configs.judging import JUDGE_NEEDS
from training.core.data import JudgedRow, read_judged_rows
from training.core.events import Events
from training.core.job_directory import Job, write_lines, write_output
from training.core.principles import Constitution, Principle
from training.core.stored_answers import Answer, Budget, StoredAnswers

CLAMP = (0.4, 0.6)
"""Bounds of probabilities after a rationale (Bai et al. 2022, section 4.1)."""


class Reading(NamedTuple):
    """What the judge reads at once. place: of the row. shown: the response, or the two in the order in which they are shown."""

    place: int
    row: JudgedRow
    shown: tuple[int, ...]
    principle: Principle

    @property
    def key(self) -> list[int]:
        return [self.place, *self.shown]


def judge(job: Job, config: JudgeConfig, events: Events) -> dict[str, Any]:
    """Ask the judge, write opinions.jsonl, and return the job's result."""
    rows = read_judged_rows(job.data)
    constitution = Constitution(job.principles, JUDGE_NEEDS[config.mode], config.seed)
    readings = [plan_readings(place, row, constitution, config) for place, row in enumerate(rows)]
    stored = StoredAnswers(job.checkpoint / "readings.jsonl")
    budget = Budget(config)
    # torch is needed for a local judge alone
    if config.server:
        from training.core.judge_server import read_all
    else:
        from training.core.judge_readings import read_all
    ended_by = read_all(job, config, events, readings, stored, budget)

    lines: list[dict[str, Any]] = []
    for own, row in zip(readings, rows, strict=True):
        answers = [stored.get(reading.key) for reading in own]
        if all(answer is not None for answer in answers):
            by_shown = {reading.shown: answer for reading, answer in zip(own, answers, strict=True) if answer}
            lines.append(opinion_line(row, own, by_shown, config))
    result = summarize(lines, budget, stored.answers) | {"rows": len(lines), "ended_by": ended_by}
    if ended_by:
        events.warning(
            f"The run ended at its limit {ended_by} after {len(lines)} of {len(rows)} rows; the others have no opinions."
        )
    write_output(job, lambda folder: write_opinions(folder, lines))
    names = ("no_opinion_share", "swap_consistency")
    compared = result["comparisons"]
    figures = {names[0]: result["no_opinion"] / compared if compared else None, names[1]: result[names[1]]}
    events.metrics(len(lines), figures)
    return result


def plan_readings(
    place: int, row: JudgedRow, constitution: Constitution, config: JudgeConfig
) -> list[Reading]:
    """The readings of a row: in choices of each pair in both orders, or in one drawn with the seed; else of each response that
    is in a pair. Raises BadInput for a row that no principle applies to."""
    if config.mode != "choice":
        principle = constitution.draw(row.tags, row.line, row.id)
        compared = sorted({response for pair in row.pairs for response in pair})
        return [Reading(place, row, (response,), principle) for response in compared]
    readings = []
    for first, second in row.pairs:
        principle = constitution.draw(row.tags, row.line, row.id, *sorted((first, second)))
        orders = [(first, second), (second, first)]
        if not config.both_orders:
            digest = hashlib.blake2b(json.dumps([config.seed, row.id, first, second]).encode()).digest()
            orders = [orders[digest[0] % 2]]
        readings += [Reading(place, row, order, principle) for order in orders]
    return readings


def opinion_line(
    row: JudgedRow, readings: Sequence[Reading], answers: dict[tuple[int, ...], Answer], config: JudgeConfig
) -> dict[str, Any]:
    """A line of opinions.jsonl. answers: of all readings of the row, by what they show."""
    principles = {frozenset(reading.shown): reading.principle.key for reading in readings}
    unused = dict(answers)
    scores: list[float | None] | None = None
    if config.mode != "choice":
        scores = [
            answers[response,]["value"] if (response,) in answers else None
            for response in range(len(row.responses))
        ]
    opinions, no_opinion = [], []
    for first, second in row.pairs:
        p, p_ab, p_ba, used = _pair_probability(first, second, answers, config)
        # a response's reading counts with the first of its pairs
        counted = [unused.pop(shown) for shown in used if shown in unused]
        if p is None:
            no_opinion.append([first, second])
            continue
        opinions.append(
            {
                "first": first,
                "second": second,
                "p_ab": p_ab,
                "p_ba": p_ba,
                "p": p,
                "principle": principles[frozenset(used[0])],
                "rationale": "\n\n".join(answers[shown].get("rationale", "") for shown in used).strip(),
                "tokens_in": sum(answer["tokens_in"] for answer in counted),
                "tokens_out": sum(answer["tokens_out"] for answer in counted),
            }
        )
    return {"id": row.id, "scores": scores, "opinions": opinions, "no_opinion": no_opinion}


def _pair_probability(
    first: int, second: int, answers: dict[tuple[int, ...], Answer], config: JudgeConfig
) -> tuple[float | None, float | None, float | None, list[tuple[int, ...]]]:
    """The probability that `first` is better: of the pair, with `first` shown first, and with `second` shown first; None where
    there is none; and what the readings that tell it show."""
    if config.mode != "choice":
        used: list[tuple[int, ...]] = [(first,), (second,)]
        one, other = (answers[shown]["value"] for shown in used)
        if one is None or other is None:
            return None, None, None, used
        return _sigmoid(config.scale * (one - other)), None, None, used
    used = [shown for shown in ((first, second), (second, first)) if shown in answers]
    values = [answers[shown]["value"] for shown in used]
    by_order = {
        shown: value if value is None or shown[0] == first else 1.0 - value
        for shown, value in zip(used, values, strict=True)
    }
    p_ab, p_ba = by_order.get((first, second)), by_order.get((second, first))
    if any(value is None for value in values):
        # one order alone has the bias of its position
        return None, p_ab, p_ba, used
    p = sum(by_order.values()) / len(by_order)
    return min(max(p, CLAMP[0]), CLAMP[1]) if config.rationales else p, p_ab, p_ba, used


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def summarize(lines: Sequence[dict[str, Any]], budget: Budget, answers: Sequence[Answer]) -> dict[str, Any]:
    """The counts and costs of the job's result."""
    opinions = [opinion for line in lines for opinion in line["opinions"]]
    unanswered = sum(len(line["no_opinion"]) for line in lines)
    twice = [one for one in opinions if one["p_ab"] is not None and one["p_ba"] is not None]
    consistent = sum(_side(one["p_ab"]) == _side(one["p_ba"]) for one in twice)
    return {
        "comparisons": len(opinions) + unanswered,
        "opinions": len(opinions),
        "no_opinion": unanswered,
        "swap_consistency": consistent / len(twice) if twice else None,
        "tokens_in": budget.tokens_in,
        "tokens_out": budget.tokens_out,
        "cost": budget.cost,
        "too_long": sum(answer.get("too_long", False) for answer in answers),
        "by_votes": any(answer.get("votes") for answer in answers),
    }


def _side(p: float) -> int:
    return (p > 0.5) - (p < 0.5)


def write_opinions(folder: Path, lines: list[dict[str, Any]]) -> None:
    write_lines(folder / "opinions.jsonl", [_rounded(line) for line in lines])


def _rounded(line: dict[str, Any]) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 6)

    opinions = [
        opinion | {name: rounded(opinion[name]) for name in ("p_ab", "p_ba", "p")}
        for opinion in line["opinions"]
    ]
    scores = None if line["scores"] is None else [rounded(score) for score in line["scores"]]
    return line | {"scores": scores, "opinions": opinions}


def unanswered(readings: Sequence[Sequence[Reading]], stored: StoredAnswers) -> Iterator[Reading]:
    """The readings without an answer, row after row."""
    for own in readings:
        for reading in own:
            if reading.key not in stored:
                yield reading
