"""Gates: what must be true of the reward models, and of the policy, before a round goes on. Plain Python.

Each gate is a figure, a threshold, and a sentence that says why it was passed or not. A gate that has nothing to go by is
passed, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.rounds.settings import RoundSettings


@dataclass(frozen=True)
class Gate:
    """figure: None where there is nothing to go by. share: figure and threshold are shown in percent."""

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


def reward_gates(
    *, new: Report, old: Report | None, judgments: int, settings: RoundSettings, fresh: bool = True
) -> list[Gate]:
    """The gates of a new reward model.

    new, old: reports on the same held-out judgments (`report.json` of the core), fresh ones unless `fresh` says otherwise.
    judgments: how many it was trained on.
    """
    which = "fresh held-out" if fresh else "held-out"
    accuracy, pairs = new.get("accuracy"), new.get("pairs") or 0
    return [
        Gate(
            "judgments",
            "Enough judgments",
            judgments,
            settings.min_judgments,
            judgments >= settings.min_judgments,
            f"It learned from {judgments:,} judgments; at least {settings.min_judgments:,} are wanted.",
        ),
        _gate(
            "accuracy",
            "Accuracy",
            accuracy,
            settings.min_accuracy,
            at_least=True,
            said=f"It agrees with people on {_percent(accuracy)} of {pairs:,} {which} pairs; at least"
            f" {_percent(settings.min_accuracy)} are wanted.",
            nothing=f"There are no {which} judgments to measure it by.",
        ),
        _beside_people(new, settings),
        _beside_old(accuracy, old, settings),
        _gate(
            "calibration",
            "Calibration",
            new.get("ece"),
            settings.max_calibration,
            at_least=False,
            said=f"Its confidence is off by {_percent(new.get('ece'))} on average; at most"
            f" {_percent(settings.max_calibration)} is allowed.",
            nothing=f"There are no {which} judgments to measure its confidence by.",
        ),
        _gate(
            "unsafe_recall",
            "Unsafe found",
            new.get("unsafe_recall"),
            settings.min_unsafe_recall,
            at_least=True,
            said=f"It finds {_percent(new.get('unsafe_recall'))} of {new.get('unsafe_labels') or 0:,} unsafe answers; at least"
            f" {_percent(settings.min_unsafe_recall)} are wanted.",
            nothing="No held-out answer is labelled unsafe.",
        ),
    ]


def wanted(settings: RoundSettings) -> list[tuple[str, list[str]]]:
    """What the gates will ask, said before they have anything to go by: of the reward models, and of the policy."""
    return [
        (
            "Of the reward model",
            [
                f"It learned from at least {settings.min_judgments:,} judgments.",
                f"It agrees with people on at least {100 * settings.min_accuracy:g}% of fresh judgments.",
                f"It agrees with them at least {100 * settings.of_people:g}% as often as they agree with each other.",
                f"It is at most {100 * settings.may_lose:g}% worse than the old one.",
                f"Its confidence is off by at most {100 * settings.max_calibration:g}%.",
                f"It finds at least {100 * settings.min_unsafe_recall:g}% of unsafe answers, where people marked some.",
            ],
        ),
        (
            "Of the new policy",
            [
                "Its answers are preferred to the old policy's: the whole 95% interval is above one half.",
                "Nobody else who compares them, a second reward model or people, clearly prefers the old ones.",
                f"Its answers stray at most {settings.max_kl:g} nats a response from the policy that it was held near.",
                f"Its answers are at most {settings.max_length_drift:g} times as long as the old ones, or as short.",
            ],
        ),
    ]


def _beside_people(new: Report, settings: RoundSettings) -> Gate:
    people, there = new.get("annotator_agreement"), new.get("accuracy_where_repeated")
    share = there / people if people and there is not None else None
    return _gate(
        "of_people",
        "Beside people's agreement",
        share,
        settings.of_people,
        at_least=True,
        said=f"Where several people judged the same answers, they agree with each other {_percent(people)} of the time, and"
        f" it with them {_percent(there)}: {_percent(share)} of it. At least {_percent(settings.of_people)} is wanted.",
        nothing="No two people judged the same held-out answers, so their agreement is unknown.",
    )


def _beside_old(accuracy: float | None, old: Report | None, settings: RoundSettings) -> Gate:
    before = old.get("accuracy") if old else None
    lost = before - accuracy if before is not None and accuracy is not None else None
    return _gate(
        "may_lose",
        "Not worse than the old one",
        lost,
        settings.may_lose,
        at_least=False,
        said=f"On the same judgments the old one agrees {_percent(before)} of the time, and it {_percent(accuracy)}; it may be"
        f" worse by {_percent(settings.may_lose)} at most.",
        nothing="There is no old reward model to compare it with.",
    )


def policy_gates(*, report: Report, settings: RoundSettings) -> list[Gate]:
    """The gates of a new policy. report: what `training.rounds.evaluation` found."""
    gates = [_win_rate(wins) for wins in report["wins"]]
    kl, drift = report.get("kl"), report.get("length_ratio")
    return [
        *gates,
        _gate(
            "kl",
            "KL budget",
            kl,
            settings.max_kl,
            at_least=False,
            said=f"Its answers stray {_plain(kl)} nats a response from the policy that it was held near; at most"
            f" {settings.max_kl:g} are allowed.",
            nothing="The answers do not say how far they stray from the policy that it was held near.",
        ),
        Gate(
            "length",
            "Length",
            drift,
            settings.max_length_drift,
            drift is None or 1 / settings.max_length_drift <= drift <= settings.max_length_drift,
            "There are no answers to measure."
            if drift is None
            else f"Its answers are {drift:.2f} times as long as the old policy's; up to {settings.max_length_drift:g} times"
            " longer or shorter is allowed.",
        ),
    ]


def _win_rate(wins: Mapping[str, Any]) -> Gate:
    """`wins`: who compared, the rate, its interval, over how many prompts, and what it must be above."""
    low, high = wins["low"], wins["high"]
    above = wins["above"]
    sentence = (
        f"By {wins['by']}, it wins {_percent(wins['mean'])} [{_percent(low)}, {_percent(high)}] against the old policy over"
        f" {wins['prompts']:,} prompts; "
    )
    if wins["must"] == "win":
        passed = low > above
        sentence += f"the whole interval must be above {_percent(above)}."
    else:
        passed = high >= above
        sentence += f"the interval must not lie wholly below {_percent(above)}: then it would please the reward model alone."
    return Gate(
        f"wins_{wins['name']}", f"Wins by {wins['by']}", wins["mean"], above, passed, sentence, share=True
    )


def _gate(
    name: str,
    label: str,
    figure: float | None,
    threshold: float,
    *,
    at_least: bool,
    said: str,
    nothing: str,
) -> Gate:
    passed = figure is None or (figure >= threshold if at_least else figure <= threshold)
    return Gate(
        name, label, figure, threshold, passed, nothing if figure is None else said, share=name != "kl"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
