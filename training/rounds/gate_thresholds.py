"""The thresholds of the gates as pages show them: what each gate asks, its figures, and which thresholds a loop has changed.

Texts are in the current language.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.logic.translation import format_digits, format_number, format_percent
from training.rounds.gates import MIN_WIN_RATE
from training.rounds.recipes import asks_judge
from training.rounds.settings import RoundSettings, changed_settings

SETTING_OF = {
    "judgments": "min_judgments",
    "accuracy": "min_accuracy",
    "may_lose": "may_lose",
    "calibration": "max_calibration",
    "unsafe_recall": "min_unsafe_recall",
    "ai_agreement": "min_ai_agreement",
    "kl": "max_kl",
    "length": "max_length_drift",
}
"""The setting that is a gate's threshold. That of `of_people` is computed from its setting, that of
`calibration` may be raised to what chance explains, and those of win rates are fixed."""

EXPLAINED = {
    "of_people": "beyond-chance-at-its-low-end",
    "min_ai_agreement": "beyond-chance-at-its-low-end",
    "max_calibration": "calibration-error",
    "max_kl": "kl-nats",
}
"""By setting, the word of the glossary that its sentence has."""


@dataclass(frozen=True)
class Requirement:
    """What a gate asks. default: the recipe's threshold where the loop has another one; otherwise empty. word: the name of a word
    in it that the glossary explains, or empty."""

    sentence: str
    default: str = ""
    word: str = ""


def describe_gates(settings: RoundSettings, recipe: str = "") -> list[tuple[str, list[Requirement]]]:
    """Headings, each with what the gates of `training.rounds.gates` will ask. recipe: empty before one is chosen."""
    changed = changed_settings(settings.to_dict(), recipe)

    def judgments(n: int) -> str:
        return ngettext("At least %(n)s training judgment.", "At least %(n)s training judgments.", n)

    def requirement(name: str, text: str, placeholder: str) -> Requirement:
        default = _setting_text(name, float(changed[name])) if name in changed else ""
        value = _setting_text(name, getattr(settings, name))
        return Requirement(text % {placeholder: value}, default, EXPLAINED.get(name, ""))

    reward_model = [
        requirement("min_judgments", judgments(settings.min_judgments), "n"),
        requirement("min_accuracy", _("Accuracy of at least %(share)s on new held-out judgments."), "share"),
        requirement(
            "of_people",
            _(
                "At least %(share)s of the annotators' agreement with each other, beyond chance, at its low end."
            ),
            "share",
        ),
        requirement(
            "may_lose",
            _("At most %(points)s less accurate than the old reward model, allowing for chance."),
            "points",
        ),
        requirement(
            "max_calibration", _("Calibration error of at most %(share)s, or what chance explains."), "share"
        ),
        requirement(
            "min_unsafe_recall",
            _("At least %(share)s of unsafe answers detected, where there are labels."),
            "share",
        ),
    ]
    win_rate = {"share": f"{MIN_WIN_RATE:.0%}"}
    policy = [
        Requirement(
            _(
                "Win rate over the old policy, by the reward model: the whole 95%% interval is above %(share)s."
            )
            % win_rate
        ),
        Requirement(
            _(
                "Win rate by the other reward models, by annotators, and on prompts with the safety tag: the interval is not"
                " below %(share)s."
            )
            % win_rate
        ),
        requirement("max_kl", _("KL from the reference of at most %(kl)s nats per response."), "kl"),
        requirement(
            "max_length_drift",
            _("Answers at most %(factor)s times longer or shorter than the old policy's."),
            "factor",
        ),
    ]
    headings = [(_("Reward model"), reward_model), (_("New policy"), policy)]
    if recipe and asks_judge(recipe):
        judge = requirement(
            "min_ai_agreement",
            _(
                "Agreement with people of at least %(share)s of their agreement with each other, at its low end."
            ),
            "share",
        )
        headings.insert(0, (_("AI judge"), [judge]))
    return headings


def _setting_text(name: str, value: float) -> str:
    """A threshold as it was set, in full."""
    match name:
        case "min_judgments":
            return format_number(value)
        case "max_kl" | "max_length_drift":
            return format_digits(value, 6)
        case "may_lose":
            return _("%(n)s points") % {"n": format_digits(100 * value, 6)}
    return f"{format_digits(100 * value, 6)}%"


def format_figure(gate: str, value: float, *, is_share: bool) -> str:
    """A gate's figure, or its threshold. gate: its name without that of the reward model, as in `SETTING_OF`."""
    match gate:
        case "may_lose":
            text = _("%(n)s points worse") if value > 0 else _("%(n)s points better")
            return text % {"n": format_number(100 * abs(value), 1)}
        case "length":
            return f"{format_number(value, 2)}×"
        case "kl":
            return _("%(n)s nats") % {"n": format_digits(value, 3) if value < 100 else format_number(value)}
    if is_share and gate != "judgments":
        return format_percent(value, 1)
    return format_digits(value, 3) if value < 100 else format_number(value)
