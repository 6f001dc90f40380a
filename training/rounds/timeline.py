"""A round as its page shows it: its steps, how each stands, with their runs and gates, and what a lead can do now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.text import capfirst

from training import metric_labels
from training.models import Round, Run
from training.rounds import context as round_context
from training.rounds import transitions

MEANING = {
    "collect": "Until enough new judgments have come in, or nothing waits any more.",
    "freeze": "What people said so far, in a file that never changes.",
    "reward_gates": "Whether the reward models are good enough to teach a policy.",
    "people": "They see a new and an old answer, and are not told which is which.",
    "policy_gates": "Whether the new policy is better than the old one, and has not strayed.",
    "decide": "The policy that is current answers the next prompts.",
    "ask": "The answers worth asking about go into the queue.",
}


WORDS = {
    "reward": "Reward model",
    "safety": "Safety reward model",
    "second": "Second opinion",
    "answers-new": "New policy",
    "answers-old": "Old policy",
    "fresh-before": "Answers of the policy before",
    "fresh-safety": "Answers about safety",
    "first-safety": "Answers about safety",
}


@dataclass(frozen=True)
class GateLine:
    """A gate in words. `figure` and `threshold` are as people read them."""

    label: str
    passed: bool
    figure: str
    threshold: str
    sentence: str


@dataclass(frozen=True)
class RunLine:
    """A part of a step: what it is about, in words, and the run that does it."""

    label: str
    run: Run


@dataclass(frozen=True)
class StepLine:
    """state: done, now, held, failed, awaiting, cancelled, or ahead."""

    name: str
    title: str
    meaning: str
    state: str
    runs: list[RunLine]
    gates: list[GateLine]
    seconds: float | None
    """What it should take, where that is known."""

    @property
    def gates_passed(self) -> int:
        return sum(gate.passed for gate in self.gates)


def of(round: Round) -> list[StepLine]:
    """The steps of a round whose runs are at hand (`prefetch_related`)."""
    by_part = {run.part: run for run in round.runs.all() if not run.superseded}
    lines = []
    for place, step in enumerate(round.plan):
        lines.append(
            StepLine(
                name=step["name"],
                title=step["title"],
                meaning=MEANING.get(step["does"], ""),
                state=_state(round, place),
                runs=[
                    RunLine(label_of(part["part"], part["config"]), by_part[part["part"]])
                    for part in step["parts"]
                    if part["part"] in by_part
                ],
                gates=[_gate(gate) for gate in round.gates if gate["step"] == step["name"]],
                seconds=round.estimate.get("steps", {}).get(step["name"]),
            )
        )
    return lines


def label_of(part: str, config: dict[str, Any]) -> str:
    """A part in words."""
    stem, _, rest = part.partition("-")
    if stem == "improve":
        return "Policy"
    if stem in ("fresh", "first") and rest.isdecimal():
        return f"Answers at temperature {config['temperature']:g}"
    return WORDS.get(part) or WORDS.get(rest.removeprefix("old-"), part) + (
        " (old)" if "old-" in rest else ""
    )


def _state(round: Round, place: int) -> str:
    if round.state == Round.State.DONE or place < round.place:
        return "done"
    if place > round.place:
        return "ahead"
    return "now" if round.state == Round.State.WORKING else str(round.state)


def _gate(gate: dict[str, Any]) -> GateLine:
    counts = gate["name"].endswith("_judgments") or not gate["share"]

    def words(value: float | None) -> str:
        if value is None:
            return "–"
        if gate["name"] == "length":
            return f"{value:.2f}×"
        if counts:
            return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.1f}"
        return f"{100 * value:.1f}%"

    return GateLine(
        gate["label"], gate["passed"], words(gate["figure"]), words(gate["threshold"]), gate["sentence"]
    )


@dataclass(frozen=True)
class Win:
    """A win rate with its interval, for a bar: places are in percent."""

    label: str
    mean: float
    low: float
    high: float
    prompts: int

    @property
    def width(self) -> float:
        return max(2.0, self.high - self.low)

    @property
    def left(self) -> float:
        """Of the bar, which stays visible where the interval is a point."""
        return min(98.0, self.low)


def wins(rows: list[dict[str, Any]]) -> list[Win]:
    return [
        Win(
            capfirst(row.get("by") or row["label"]),
            100 * row["mean"],
            100 * row["low"],
            100 * row["high"],
            row["prompts"],
        )
        for row in rows
    ]


@dataclass(frozen=True)
class Curve:
    """Reward over the root of the KL, as points of a drawing 320 by 160."""

    name: str
    path: str
    dots: list[tuple[float, float]]
    last: str


def curves(found: list[dict[str, Any]]) -> list[Curve]:
    """Each run's reward over the root of its divergence, drawn to a common scale."""
    points = [point for run in found for point in run["points"]]
    if not points:
        return []
    widest = max(kl for kl, _ in points) ** 0.5 or 1.0
    low, high = min(reward for _, reward in points), max(reward for _, reward in points)
    spread = (high - low) or 1.0
    drawn = []
    for run in found:
        dots = [
            (40 + 270 * kl**0.5 / widest, 140 - 120 * (reward - low) / spread) for kl, reward in run["points"]
        ]
        path = " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(dots))
        kl, reward = run["points"][-1]
        drawn.append(
            Curve(run["name"], path, dots, f"{metric_labels.shown('reward', reward)} at {kl:.1f} nats")
        )
    return drawn


def verdict(round: Round) -> str:
    """In one sentence, what became of a round, or what it waits for."""
    match round.state:
        case Round.State.DONE:
            return _decided(round)
        case Round.State.CANCELLED:
            return f"It was cancelled at “{round.now['title']}”. It can go on from there."
        case Round.State.FAILED:
            return round.error
        case Round.State.HELD:
            return (
                f"A gate said no. {round.error} Let it go on with a reason, do part of it again, or cancel it and wait for"
                " more judgments."
            )
        case Round.State.AWAITING:
            return f"{round.policy_after} is ready. Look at the figures, then promote it or not."
    if round.now["does"] == "collect":
        wanted = round.options["judgments"]
        return f"People are judging: {round_context.new_judgments(round):,} of {wanted:,} judgments are in."
    if round.decision:
        return f"{_decided(round)} Now: {round.now['title']}."
    return f"{round.now['title']}. Nothing to do but wait."


def _decided(round: Round) -> str:
    failed = ", ".join(gate["label"].lower() for gate in round.gates if not gate["passed"])
    if round.decision == Round.Decision.PROMOTED:
        why = f" though it did not pass: {failed}" if failed else ", as every gate was passed"
        return f"{round.policy_after} was promoted{why}."
    why = f": it did not pass {failed}" if failed else ", though it passed every gate"
    return f"{round.policy_after} was not promoted{why}."


def can(round: Round) -> set[str]:
    """What a lead can do with it now, by the name of the verb."""
    found = set()
    if round.is_open:
        found.add("cancel")
        if transitions.retriable(round):
            found.add("retry")
    if round.state in (Round.State.CANCELLED, Round.State.FAILED):
        found.add("resume")
    if round.state == Round.State.WORKING and round.now["does"] in ("collect", "people"):
        found.add("go-on")
    if round.state == Round.State.HELD:
        found.add("overrule")
    if round.state == Round.State.AWAITING:
        found |= {"promote", "reject"}
    return found
