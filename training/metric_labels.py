"""What runs measure, in plain words: the one place where a figure has its name, its sentence and its place on a page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from annotation.logic import degrees


@dataclass(frozen=True)
class Figure:
    """`share`: it goes from 0 to 1 and is shown in percent."""

    name: str
    label: str
    sentence: str
    share: bool = False


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure(
            "agreement",
            "Accuracy",
            "How often it agrees with people, over the pairs below; 50% is a coin.",
            True,
        ),
        Figure(
            "held_out_reward",
            "Held-out reward",
            "The average score of its answers to prompts it never learned from: if it falls, stop sooner.",
        ),
        Figure(
            "reward", "Reward", "The average score of the policy's own answers to the prompts of the step."
        ),
        Figure("loss", "Loss", "What training makes smaller, on the rows it learns from."),
        Figure(
            "held_out_loss",
            "Held-out loss",
            "The same on prompts it never learned from: if it rises, stop sooner.",
        ),
        Figure(
            "accuracy",
            "Accuracy",
            "How often it agrees with people on the rows of the step, before learning from them.",
            True,
        ),
        Figure(
            "held_out_accuracy",
            "Held-out accuracy",
            "How often it agrees with people on prompts it never learned from; 50% is a coin.",
            True,
        ),
        Figure(
            "reward_margin", "Reward margin", "How far the preferred answer's score is above the other's."
        ),
        Figure(
            "reward_chosen",
            "Reward of preferred",
            "The implicit reward of the answers that people preferred.",
        ),
        Figure(
            "reward_rejected",
            "Reward of others",
            "The implicit reward of the answers that people did not prefer.",
        ),
        Figure("reward_best", "Reward of the best", "The average score of the best answer to each prompt."),
        Figure("reward_std", "Spread of the rewards", "How far the answers' scores are apart."),
        Figure("kl", "KL", "How far the policy has moved from where it started, in nats."),
        Figure("kl_root", "Root of the KL", "What the reward is often drawn over, as gains fade along it."),
        Figure(
            "kl_bon", "KL of the best", "How far the best of so many answers is from the policy, in nats."
        ),
        Figure(
            "entropy",
            "Entropy",
            "How open the policy is about its next token, in nats; near 0 it repeats itself.",
        ),
        Figure("length", "Tokens per answer", "How long the answers are, on average."),
        Figure("ended", "Finished answers", "The share that ended by themselves, and were not cut.", True),
        Figure("equal_groups", "Equal groups", "The share of prompts whose answers all scored alike.", True),
        Figure(
            "ratio", "Probability ratio", "How far the policy is from the one that answered; 1 is not at all."
        ),
        Figure(
            "clipped", "Clipped", "The share of tokens that had moved far enough and were left alone.", True
        ),
        Figure("policy_loss", "Policy loss", "The policy's part of the loss."),
        Figure(
            "value_loss", "Value loss", "How far the value model's forecasts are from what came, squared."
        ),
        Figure(
            "explained_variance",
            "Explained variance",
            "How well the value model foresees rewards; 1 is best.",
        ),
        Figure("beta", "KL weight", "How strongly the policy is held near where it started."),
        Figure(
            "ece",
            "Calibration error",
            "How far its confidence is from how often it is right; 0 is best.",
            True,
        ),
        Figure(
            "ece_with_margin",
            "Calibration error with margin",
            "The same, with the margin that it was trained with.",
            True,
        ),
        Figure(
            "annotator_agreement",
            "People's own agreement",
            "How often two people who judged the same answers agreed; no model can be expected to do better.",
            True,
        ),
        Figure(
            "accuracy_where_repeated",
            "Accuracy on those answers",
            "How often the model agrees with people where several judged the same answers.",
            True,
        ),
        Figure("unsafe_recall", "Unsafe found", "The share of unsafe answers that score below zero.", True),
        Figure("safe_recall", "Safe found", "The share of safe answers that score above zero.", True),
        Figure("best_step", "Best step", "The step whose weights were kept: the lowest held-out loss."),
        Figure("lr", "Learning rate", "How large the steps are."),
        Figure("grad_norm", "Gradient norm", "How hard the data pulls at the weights; spikes are a warning."),
        Figure("tokens_per_s", "Tokens per second", "How fast it works."),
        Figure("mean_tokens", "Tokens per answer", "How long the answers are, on average."),
        Figure(
            "finished",
            "Finished answers",
            "The share of answers that ended by themselves, and were not cut.",
            True,
        ),
        Figure(
            "mean_chosen",
            "Score of preferred answers",
            "The average score of the answers that people preferred.",
        ),
        Figure(
            "mean_rejected",
            "Score of other answers",
            "The average score of the answers that people did not prefer.",
        ),
        Figure("bias", "Score offset", "What is taken off every score so that the average is zero."),
        Figure("rankings", "Judgments", "What people said, one ranking or choice each."),
        Figure("rows", "Judgments", "What people said, one ranking or choice each."),
        Figure("prompts", "Prompts", "Different prompts that it worked on."),
        Figure(
            "remembered", "Remembered answers", "The best answers of earlier rounds that it learned from too."
        ),
        Figure("pairs", "Pairs", "What the judgments come to in pairs: one answer preferred to another."),
        Figure("ties", "Ties", "Pairs that people called level; they count for neither side."),
        Figure(
            "truncated_prompts", "Cut prompts", "Prompts that were too long, and lost their oldest tokens."
        ),
        Figure("responses", "Answers", "How many answers were sampled."),
        Figure("answers", "Answers", "How many answers were sampled."),
        Figure("new", "New answers", "Answers that the policy had not given to the same prompt before."),
        Figure("empty", "Empty answers", "Answers without any text; they were left out."),
        Figure("items", "Items queued", "Prompts that went into the queue with their answers."),
        Figure("steps", "Steps", "Updates of the weights."),
        Figure("seconds", "Seconds", "How long it took."),
        Figure("tokens", "Tokens", "How many tokens went through the model."),
        Figure("memory_mb", "Memory, MB", "The most that the training process needed."),
        Figure("processes", "Processes", "How many worked on it side by side."),
        Figure("parameters", "Parameters", "How many numbers the model consists of."),
    )
}


@dataclass(frozen=True)
class Chart:
    """Figures that are drawn together. `large` charts come first and stand beside each other."""

    title: str
    names: tuple[str, ...]
    large: bool = False


CHARTS = (
    Chart("Reward", ("reward", "held_out_reward"), large=True),
    Chart("Loss", ("loss", "held_out_loss"), large=True),
    Chart("Accuracy", ("accuracy", "held_out_accuracy"), large=True),
    Chart("Rewards", ("reward_chosen", "reward_rejected")),
    Chart("Reward margin", ("reward_margin",)),
    Chart("KL", ("kl",)),
)
"""Any other figure gets a small chart of its own."""


def figure(name: str) -> Figure:
    """What is known of a figure; an unknown one is called what it is called."""
    return FIGURES.get(name) or Figure(name, name.replace("_", " ").capitalize(), "")


def for_page() -> dict[str, Any]:
    """The same for the page's script, as JSON."""
    return {
        "figures": {name: asdict(known) for name, known in FIGURES.items()},
        "charts": [asdict(chart) for chart in CHARTS],
    }


def shown(name: str, value: float | None) -> str:
    """A value as people read it: shares in percent, whole numbers with commas, others with three digits that count."""
    if value is None:
        return "–"
    if figure(name).share:
        return f"{100 * value:.1f}%"
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Result:
    """A final figure on a page."""

    label: str
    value: str
    sentence: str


def of_report(report: dict[str, Any]) -> dict[str, Any]:
    """A report's figures, its accuracy under a name of its own: `accuracy` is that of training."""
    return {("agreement" if name == "accuracy" else name): value for name, value in report.items()}


def report_title(config: dict[str, Any]) -> str:
    """What a report is about: an evaluation may be asked to look at every row."""
    return "On every prompt" if config.get("split") == "all" else "On held-out prompts"


def results(values: dict[str, Any], *, without: Collection[str] = ()) -> list[Result]:
    """The plain numbers among a run's results, in the order in which they are listed above; others follow."""
    order = {name: place for place, name in enumerate(FIGURES)}
    numbers = {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in without
    }
    return [
        Result(figure(name).label, shown(name, numbers[name]), figure(name).sentence)
        for name in sorted(numbers, key=lambda name: (order.get(name, len(order)), name))
    ]


@dataclass(frozen=True)
class Group:
    """A line of a report's table: accuracy over some of the pairs."""

    label: str
    accuracy: float | None
    pairs: int

    @property
    def percent(self) -> str:
        return shown("accuracy", self.accuracy)


GROUP_LABELS = {
    **degrees.LABELS,
    "none": "Rankings (no degree)",
    "shorter_preferred": "The shorter answer was preferred",
    "longer_preferred": "The longer answer was preferred",
    "same_length": "Both were equally long",
}


def groups(report: dict[str, Any], name: str) -> list[Group]:
    """One of a report's tables, without the lines that no pair stands behind."""
    lines = report.get(name) or {}
    return [
        Group(label, lines[key]["accuracy"], lines[key]["pairs"])
        for key, label in GROUP_LABELS.items()
        if key in lines and lines[key]["pairs"]
    ]
