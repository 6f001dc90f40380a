"""What the checks of `make check-gpu` found: figures with their bounds, a table of them, and its section in RESULTS.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.report_parts import origin, table

TITLE = "## On a GPU"

WORDS = """Written by `make check-gpu` on a machine with a GPU. "Right" and "wrong" are against the bound; the other figures are
measured only. MFU is of the model's FLOPs (PaLM's formula with the visible pairs of the attention), each token counted once."""


class Figure(NamedTuple):
    """One thing that a check found. text: as shown. right: whether it is within its bound; None for what has none."""

    name: str
    label: str
    value: float | str | None
    text: str
    bound: str = ""
    right: bool | None = None


def measured(name: str, label: str, value: float | str | None, text: str = "") -> Figure:
    """A figure without a bound; None is shown as unknown."""
    return Figure(name, label, value, text or ("unknown" if value is None else str(value)))


def at_most(name: str, label: str, value: float, bound: float) -> Figure:
    return Figure(name, label, value, f"{value:.1e}", f"at most {bound:.1e}", value <= bound)


def above(name: str, label: str, value: float, bound: float) -> Figure:
    return Figure(name, label, value, f"{value:.1e}", f"above {bound:.1e}", value > bound)


def around(name: str, label: str, value: float, low: float, high: float) -> Figure:
    return Figure(name, label, value, f"{value:.2f}", f"{low:g} to {high:g}", low <= value <= high)


def equal(name: str, label: str, value: str | float, expected: str | float) -> Figure:
    return Figure(name, label, value, str(value), str(expected), value == expected)


class Skipped(Exception):
    """A check that cannot be made here; the message is a sentence that says why."""


@dataclass
class Outcome:
    """A check that was made or not. failed, skipped: a sentence each, or empty. seconds: that it took."""

    check: str
    figures: list[Figure] = field(default_factory=list)
    failed: str = ""
    skipped: str = ""
    seconds: float = 0.0

    @property
    def wrong(self) -> list[str]:
        """A sentence for everything that is wrong."""
        sentences = [
            f"{figure.label}: {figure.text}, and it should be {figure.bound}."
            for figure in self.figures
            if figure.right is False
        ]
        return sentences + ([self.failed] if self.failed else [])

    @property
    def state(self) -> str:
        return "skipped" if self.skipped else "wrong" if self.wrong else "right"

    def to_dict(self) -> dict[str, Any]:
        """For the last line on stdout."""
        found: dict[str, Any] = {"state": self.state, "seconds": round(self.seconds, 1)}
        if sentences := [self.skipped] if self.skipped else self.wrong:
            found["why"] = " ".join(sentences)
        return found | {figure.name: figure.value for figure in self.figures}


def figures_table(outcomes: list[Outcome]) -> str:
    words = {None: "", True: "right", False: "wrong"}
    rows = [
        [f"{outcome.check}: {figure.label}", figure.text, figure.bound, words[figure.right]]
        for outcome in outcomes
        for figure in outcome.figures
    ]
    return table(["", "measured", "bound", ""], rows)


def notes(outcomes: list[Outcome]) -> list[str]:
    """Sentences about what is wrong and what was left out."""
    wrong = [f"Wrong: {outcome.check}. {sentence}" for outcome in outcomes for sentence in outcome.wrong]
    return wrong + [f"Skipped: {outcome.check}. {outcome.skipped}" for outcome in outcomes if outcome.skipped]


def section(outcomes: list[Outcome], about: dict[str, Any], device: str) -> str:
    """The section of RESULTS.md."""
    measured_on = f"**{device}.** {origin({'about': about})}"
    text = [f"{TITLE}\n", WORDS + "\n", measured_on, figures_table(outcomes)]
    return "\n".join(text + [f"{note}\n" for note in notes(outcomes)])
