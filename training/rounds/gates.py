"""Gates: thresholds that the reward models and the new policy must reach before a round continues. Plain Python.

The thresholds are fields of `RoundSettings`. A gate whose figure is missing is passed, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.rounds.settings import RoundSettings


@dataclass(frozen=True)
class Gate:
    """The result of a gate. figure: None without data. share: figure and threshold are shown in percent."""

    name: str
    label: str
    figure: float | None
    threshold: float
    passed: bool
    sentence: str
    share: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Report = Mapping[str, Any]

MIN_WIN_RATE = 0.5
"""Of the new policy over the old one: below it, the old one is preferred."""


def describe_gates(settings: RoundSettings) -> list[tuple[str, list[str]]]:
    """Headings, each with the requirements that the gates below will check."""
    return [
        (
            "Reward model",
            [
                f"At least {settings.min_judgments:,} training judgments.",
                f"Accuracy of at least {100 * settings.min_accuracy:g}% on new held-out judgments.",
                f"At least {100 * settings.of_people:g}% of the annotators' agreement with each other.",
                f"At most {100 * settings.may_lose:g}% less accurate than the old reward model.",
                f"Calibration error of at most {100 * settings.max_calibration:g}%.",
                f"At least {100 * settings.min_unsafe_recall:g}% of unsafe answers detected, where there are labels.",
            ],
        ),
        (
            "New policy",
            [
                f"Win rate over the old policy, by the reward model: the whole 95% interval is above {MIN_WIN_RATE:.0%}.",
                f"Win rate by the other reward models and by annotators: the interval is not below {MIN_WIN_RATE:.0%}.",
                f"KL from the reference of at most {settings.max_kl:g} nats per response.",
                f"Answers at most {settings.max_length_drift:g} times longer or shorter than the old policy's.",
            ],
        ),
    ]


def reward_gates(
    *, new: Report, old: Report | None, judgments: int, settings: RoundSettings, fresh: bool = True
) -> list[Gate]:
    """The gates of a new reward model.

    new, old: reports on the same held-out judgments (the core's `report.json`); `fresh`: these are new since the last round.
    judgments: how many it was trained on.
    """
    held_out = "new held-out" if fresh else "held-out"
    accuracy, pairs = new.get("accuracy"), new.get("pairs") or 0
    return [
        Gate(
            "judgments",
            "Training judgments",
            judgments,
            settings.min_judgments,
            judgments >= settings.min_judgments,
            f"It was trained on {judgments:,} judgments; the minimum is {settings.min_judgments:,}.",
        ),
        _gate(
            "accuracy",
            "Accuracy",
            accuracy,
            settings.min_accuracy,
            is_minimum=True,
            sentence=f"It agrees with annotators on {_percent(accuracy)} of {pairs:,} {held_out} pairs; the minimum is"
            f" {_percent(settings.min_accuracy)}.",
            no_data=f"There are no {held_out} judgments to evaluate it on.",
        ),
        _human_agreement_gate(new, settings),
        _accuracy_loss_gate(accuracy, old, settings),
        _gate(
            "calibration",
            "Calibration",
            new.get("ece"),
            settings.max_calibration,
            is_minimum=False,
            sentence=f"Its calibration error is {_percent(new.get('ece'))}; the maximum is"
            f" {_percent(settings.max_calibration)}.",
            no_data=f"There are no {held_out} judgments to evaluate its calibration on.",
        ),
        _gate(
            "unsafe_recall",
            "Unsafe recall",
            new.get("unsafe_recall"),
            settings.min_unsafe_recall,
            is_minimum=True,
            sentence=f"It detects {_percent(new.get('unsafe_recall'))} of {new.get('unsafe_labels') or 0:,} unsafe answers;"
            f" the minimum is {_percent(settings.min_unsafe_recall)}.",
            no_data="No held-out answer is labelled unsafe.",
        ),
    ]


def _human_agreement_gate(new: Report, settings: RoundSettings) -> Gate:
    humans, accuracy = new.get("annotator_agreement"), new.get("accuracy_where_repeated")
    ratio = accuracy / humans if humans and accuracy is not None else None
    return _gate(
        "of_people",
        "Compared with human agreement",
        ratio,
        settings.of_people,
        is_minimum=True,
        sentence=f"Where several annotators judged the same answers, they agree with each other {_percent(humans)} of the"
        f" time, and the reward model with them {_percent(accuracy)}, which is {_percent(ratio)} of it. The minimum is"
        f" {_percent(settings.of_people)}.",
        no_data="No two annotators judged the same held-out answers, so their agreement is unknown.",
    )


def _accuracy_loss_gate(accuracy: float | None, old: Report | None, settings: RoundSettings) -> Gate:
    before = old.get("accuracy") if old else None
    loss = before - accuracy if before is not None and accuracy is not None else None
    return _gate(
        "may_lose",
        "Compared with the old reward model",
        loss,
        settings.may_lose,
        is_minimum=False,
        sentence=f"On the same judgments the accuracy of the old one is {_percent(before)}, and of the new one"
        f" {_percent(accuracy)}; the maximum loss is {_percent(settings.may_lose)}.",
        no_data="There is no old reward model to compare it with.",
    )


def policy_gates(*, report: Report, settings: RoundSettings) -> list[Gate]:
    """The gates of a new policy. report: of `training.rounds.evaluation.compare_policies`, with `kl`."""
    kl, ratio = report.get("kl"), report.get("length_ratio")
    return [
        *(_win_rate_gate(wins) for wins in report["wins"]),
        _gate(
            "kl",
            "KL budget",
            kl,
            settings.max_kl,
            is_minimum=False,
            sentence=f"KL from the reference: {'–' if kl is None else f'{kl:.1f}'} nats per response; the maximum is"
            f" {settings.max_kl:g}.",
            no_data="The KL from the reference was not measured.",
        ),
        Gate(
            "length",
            "Answer length",
            ratio,
            settings.max_length_drift,
            ratio is None or 1 / settings.max_length_drift <= ratio <= settings.max_length_drift,
            "There are no answers to measure."
            if ratio is None
            else f"Its answers are {ratio:.2f} times as long as the old policy's; up to {settings.max_length_drift:g} times"
            " longer or shorter is allowed.",
        ),
    ]


def _win_rate_gate(wins: Mapping[str, Any]) -> Gate:
    """wins: an entry of the report's `wins`."""
    low, high = wins["low"], wins["high"]
    sentence = (
        f"Win rate over the old policy, by {wins['by']}: {_percent(wins['mean'])} [{_percent(low)}, {_percent(high)}] on"
        f" {wins['prompts']:,} prompts; "
    )
    if wins["must"] == "win":
        passed = low > MIN_WIN_RATE
        sentence += f"the whole interval must be above {_percent(MIN_WIN_RATE)}."
    else:
        passed = high >= MIN_WIN_RATE
        sentence += f"the interval must not be below {_percent(MIN_WIN_RATE)}, or the policy has overfitted to the reward model."
    return Gate(
        f"wins_{wins['name']}",
        f"Win rate by {wins['by']}",
        wins["mean"],
        MIN_WIN_RATE,
        passed,
        sentence,
        share=True,
    )


def _gate(
    name: str,
    label: str,
    figure: float | None,
    threshold: float,
    *,
    is_minimum: bool,
    sentence: str,
    no_data: str,
) -> Gate:
    passed = figure is None or (figure >= threshold if is_minimum else figure <= threshold)
    return Gate(
        name, label, figure, threshold, passed, no_data if figure is None else sentence, share=name != "kl"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"
