"""Labels, descriptions and formats of the metrics that runs report, for pages, charts and model cards."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from annotation.logic import degrees
from annotation.logic.translation import format_digits, format_number, format_percent


@dataclass(frozen=True)
class MetricLabel:
    """How a metric is presented. `percent`: a value from 0 to 1 that is shown in percent."""

    name: str
    label: str
    description: str
    percent: bool = False


# “50% is” looks like a placeholder of Python's: where a text has such words, a comment says that it is none
METRIC_LABELS: dict[str, MetricLabel] = {
    metric.name: metric
    for metric in (
        MetricLabel(
            "agreement",
            _("Accuracy"),
            # xgettext:no-python-format
            _("How often it agrees with people on the pairs below; 50% is chance."),
            True,
        ),
        MetricLabel(
            "held_out_reward",
            _("Held-out reward"),
            _("Mean reward of its answers to held-out prompts: if it falls, stop earlier."),
        ),
        MetricLabel(
            "held_out_second_reward",
            _("Held-out reward by the second model"),
            _(
                "Mean reward of its answers to held-out prompts by the second reward model: if it falls while the other rises,"
                " the policy overfits to its reward model."
            ),
        ),
        MetricLabel(
            "held_out_kl",
            _("Held-out KL"),
            _("KL from the reference on its answers to held-out prompts, in nats per answer."),
        ),
        MetricLabel(
            "swap_consistency",
            _("Swap consistency"),
            _("Pairs on which the judge prefers the same answer in both orders."),
            True,
        ),
        MetricLabel(
            "no_opinion_share",
            _("No opinion"),
            _("Pairs on which the judge replied with neither of the two answers."),
            True,
        ),
        MetricLabel(
            "kept", _("Revised"), _("Prompts with a revision that is better than the first answer."), True
        ),
        MetricLabel(
            "gain", _("Gain"), _("By how much the judge scores the revisions above the first answers.")
        ),
        MetricLabel("reward", _("Reward"), _("Mean reward of the answers sampled for the step.")),
        MetricLabel("loss", _("Loss"), _("The loss on the training rows.")),
        MetricLabel(
            "held_out_loss", _("Held-out loss"), _("The loss on held-out prompts: if it rises, stop earlier.")
        ),
        MetricLabel(
            "accuracy",
            _("Training accuracy"),
            _("How often it agrees with people on the rows of the step, before the update."),
            True,
        ),
        MetricLabel(
            "held_out_accuracy",
            _("Held-out accuracy"),
            # xgettext:no-python-format
            _("How often it agrees with people on held-out prompts; 50% is chance."),
            True,
        ),
        MetricLabel(
            "criteria_accuracy",
            _("Accuracy by criterion"),
            _(
                # xgettext:no-python-format
                "How often the scores by criterion agree with the ratings on held-out prompts, on average over the criteria; 50%"
                " is chance."
            ),
            True,
        ),
        MetricLabel(
            "reward_margin",
            _("Reward margin"),
            _("Mean reward of the chosen minus that of the rejected answer."),
        ),
        MetricLabel(
            "reward_chosen", _("Reward of chosen"), _("Implicit reward of the answers that were preferred.")
        ),
        MetricLabel(
            "reward_rejected",
            _("Reward of rejected"),
            _("Implicit reward of the answers that were not preferred."),
        ),
        MetricLabel("reward_best", _("Best reward"), _("Mean reward of the best answer to each prompt.")),
        MetricLabel("reward_std", _("Reward deviation"), _("Standard deviation of the rewards.")),
        MetricLabel("kl", _("KL"), _("KL divergence from the reference policy, in nats per answer.")),
        MetricLabel(
            "reference_point",
            _("Reference point"),
            _(
                "Estimate of the KL from the reference, in nats per answer: an answer whose gain exceeds it counts as an"
                " improvement."
            ),
        ),
        MetricLabel("kl_root", _("Square root of KL"), _("The usual axis for plots of reward against KL.")),
        MetricLabel(
            "kl_bon", _("KL of best-of-n"), _("KL divergence of best-of-n sampling from the policy, in nats.")
        ),
        MetricLabel(
            "entropy",
            _("Entropy"),
            _("Entropy of the next-token distribution, in nats; near 0 the policy repeats itself."),
        ),
        MetricLabel("length", _("Tokens per answer"), _("Mean length of the answers.")),
        MetricLabel(
            "ended",
            _("Finished answers"),
            _("Answers that ended with an end token and were not cut off."),
            True,
        ),
        MetricLabel(
            "equal_groups",
            _("Groups without signal"),
            _("Prompts whose answers all got the same reward."),
            True,
        ),
        MetricLabel(
            "ratio",
            _("Probability ratio"),
            _("Probability of the sampled tokens now over that when they were sampled."),
        ),
        MetricLabel(
            "sampler_gap",
            _("Difference from the sampler"),
            _("Mean difference of the log-probs of the sampler server and the policy, in nats per token."),
        ),
        MetricLabel(
            "sampler_ratio",
            _("Importance ratio"),
            _("Mean probability of the sampled tokens by the policy over that by the sampler server."),
        ),
        MetricLabel(
            "sampler_capped",
            _("Capped importance weights"),
            _("Tokens whose importance ratio was above the cap."),
            True,
        ),
        MetricLabel("clipped", _("Clipped tokens"), _("Tokens whose probability ratio was clipped."), True),
        MetricLabel("policy_loss", _("Policy loss"), _("The policy's part of the loss.")),
        MetricLabel("value_loss", _("Value loss"), _("Squared error of the value model.")),
        MetricLabel(
            "explained_variance",
            _("Explained variance"),
            _("Variance of the returns that the value model explains; 1 is best."),
        ),
        MetricLabel("beta", _("KL weight"), _("Weight of the KL penalty.")),
        MetricLabel(
            "instruction_probability",
            _("Instruction recognised"),
            # xgettext:no-python-format
            _("How probable the instruction that an answer fulfils is, given the answer; 50% is chance."),
            True,
        ),
        MetricLabel(
            "threshold",
            _("Reward threshold"),
            _("Answers above it are learned from; 0 is the lowest and 1 the highest reward of all samples."),
        ),
        MetricLabel("selected", _("Selected answers"), _("Answers whose reward is above the threshold.")),
        MetricLabel(
            "ece",
            _("Calibration error"),
            _("Expected difference of confidence and accuracy; 0 is best."),
            True,
        ),
        MetricLabel(
            "ece_with_margin",
            _("Calibration error with margin"),
            _("The same, with the margin that was used in training."),
            True,
        ),
        MetricLabel(
            "annotator_agreement",
            _("Human agreement"),
            _("How often two people who judged the same answers agreed."),
            True,
        ),
        MetricLabel(
            "noise_ceiling",
            _("Noise ceiling"),
            _(
                "The highest accuracy that a model can reach, estimated from how often people agreed on the same answers."
            ),
            True,
        ),
        MetricLabel(
            "accuracy_where_repeated",
            _("Accuracy on repeated items"),
            _("How often it agrees with people on items that several people judged."),
            True,
        ),
        MetricLabel("unsafe_recall", _("Unsafe recall"), _("Unsafe answers that score below zero."), True),
        MetricLabel("safe_recall", _("Safe recall"), _("Safe answers that score above zero."), True),
        MetricLabel(
            "best_step",
            _("Best step"),
            _("The step whose weights were saved, as the best on held-out prompts."),
        ),
        MetricLabel("lr", _("Learning rate"), _("The learning rate of the step.")),
        MetricLabel(
            "grad_norm", _("Gradient norm"), _("Norm of the gradients before clipping; spikes are a warning.")
        ),
        MetricLabel("tokens_per_s", _("Tokens per second"), _("Throughput.")),
        MetricLabel("mean_tokens", _("Tokens per answer"), _("Mean length of the answers.")),
        MetricLabel(
            "finished",
            _("Finished answers"),
            _("Answers that ended with an end token and were not cut off."),
            True,
        ),
        MetricLabel(
            "mean_chosen", _("Score of chosen"), _("Mean score of the answers that people preferred.")
        ),
        MetricLabel(
            "mean_rejected",
            _("Score of rejected"),
            _("Mean score of the answers that people did not prefer."),
        ),
        MetricLabel("bias", _("Score offset"), _("Subtracted from every score so that the mean is zero.")),
        MetricLabel("rankings", _("Judgments"), _("Rankings and comparisons.")),
        MetricLabel("rows", _("Judgments"), _("Rankings and comparisons.")),
        MetricLabel("prompts", _("Prompts"), _("Different prompts in the data.")),
        MetricLabel(
            "remembered", _("Earlier answers"), _("Best answers of earlier rounds in the training data.")
        ),
        MetricLabel("pairs", _("Pairs"), _("Pairs of a chosen and a rejected answer in the judgments.")),
        MetricLabel("opinions", _("Opinions"), _("Pairs that an AI compared; they count in no accuracy.")),
        MetricLabel(
            "desirable",
            _("Desirable answers"),
            _("Answers that were ranked above more of the others than below."),
        ),
        MetricLabel(
            "undesirable",
            _("Undesirable answers"),
            _("Answers that were ranked below more of the others than above."),
        ),
        MetricLabel("ties", _("Ties"), _("Pairs of equal rank; they are not counted.")),
        MetricLabel(
            "truncated_prompts",
            _("Truncated prompts"),
            _("Prompts over the maximum length, which lost their oldest tokens."),
        ),
        MetricLabel("responses", _("Answers"), _("Answers that were sampled.")),
        MetricLabel("answers", _("Answers"), _("Answers that were sampled.")),
        MetricLabel(
            "new", _("New answers"), _("Answers that the policy had not given to the same prompt before.")
        ),
        MetricLabel("empty", _("Empty answers"), _("Answers without text, which were left out.")),
        MetricLabel("items", _("Items queued"), _("Prompts that entered the queue with their answers.")),
        MetricLabel(
            "improve_steps",
            _("Improve steps"),
            _("Rising reward thresholds that the policy was fine-tuned at."),
        ),
        MetricLabel("steps", _("Steps"), _("Updates of the weights.")),
        MetricLabel("seconds", _("Seconds"), _("Duration.")),
        MetricLabel("tokens", _("Tokens"), _("Tokens that were processed.")),
        MetricLabel("memory_mb", _("Memory, MB"), _("Peak memory of the training process.")),
        MetricLabel("processes", _("Processes"), _("Processes that trained in parallel.")),
        MetricLabel("parameters", _("Parameters"), _("Weights of the model.")),
    )
}
"""By name, in the order of the lists on pages; `label_of` translates them."""


def label_of(name: str) -> MetricLabel:
    """The label of a metric, in the reader's language; one that is not listed is labelled with its own name."""
    metric = METRIC_LABELS.get(name)
    if metric is None:
        return MetricLabel(name, name.replace("_", " ").capitalize(), "")
    return replace(metric, label=gettext(metric.label), description=gettext(metric.description))


def format_value(name: str, value: float | None) -> str:
    """A metric's value as text: in percent, as a whole number with commas, or with three significant digits."""
    if value is None:
        return "–"
    if label_of(name).percent:
        return format_percent(value, 1)
    if abs(value) >= 100 and not float(value).is_integer():
        return format_number(value, 1)
    return format_digits(value, 3)


@dataclass(frozen=True)
class LabelledValue:
    """A metric's final value, formatted, with its label and description."""

    label: str
    value: str
    description: str


def labelled_values(values: dict[str, Any], *, without: Collection[str] = ()) -> list[LabelledValue]:
    """The numbers in `values`, in the order of METRIC_LABELS; unlisted ones follow by name."""
    order = {name: place for place, name in enumerate(METRIC_LABELS)}
    numbers = {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in without
    }
    return [
        LabelledValue(label_of(name).label, format_value(name, numbers[name]), label_of(name).description)
        for name in sorted(numbers, key=lambda name: (order.get(name, len(order)), name))
    ]


def report_values(report: dict[str, Any]) -> list[LabelledValue]:
    """The numbers of an evaluation report. Its accuracy is listed as `agreement`: `accuracy` is that of training."""
    return labelled_values(
        {("agreement" if name == "accuracy" else name): value for name, value in report.items()}
    )


def report_title(config: dict[str, Any], inputs: dict[str, Any]) -> str:
    """Which judgments a report covers: an evaluation can cover all prompts; in a round it covers only judgments that are new
    since the one before (`after`), and the second reward model is measured on what the first one learns (`swap`)."""
    is_new = bool(inputs.get("after"))
    if config.get("split") == "all":
        return gettext("On new judgments of every prompt") if is_new else gettext("On every prompt")
    if inputs.get("swap"):
        return (
            gettext("On new judgments of training prompts, which this model did not learn from")
            if is_new
            else gettext("On training prompts, which this model did not learn from")
        )
    return gettext("On new judgments of held-out prompts") if is_new else gettext("On held-out prompts")


@dataclass(frozen=True)
class AccuracyRow:
    """A row of a report's table: the accuracy on some of the pairs."""

    label: str
    accuracy: float | None
    pairs: int

    @property
    def percent(self) -> str:
        return format_value("accuracy", self.accuracy)


ROW_LABELS = {
    **degrees.LABELS,
    "none": _("Rankings (no degree)"),
    "shorter_preferred": _("The shorter answer was preferred"),
    "longer_preferred": _("The longer answer was preferred"),
    "same_length": _("Both were equally long"),
}


def accuracy_rows(report: dict[str, Any], table: str) -> list[AccuracyRow]:
    """The rows of a report's table, `accuracy_by_degree` or `accuracy_by_length`; rows without pairs are left out."""
    rows = report.get(table) or {}
    return [
        AccuracyRow(gettext(label), rows[key]["accuracy"], rows[key]["pairs"])
        for key, label in ROW_LABELS.items()
        if key in rows and rows[key]["pairs"]
    ]


def _criterion_label(name: str) -> str:
    return name.replace("_", " ").capitalize()


@dataclass(frozen=True)
class CriteriaTables:
    """What a report has of a model's scores by criterion.

    heads: the labels of the reward and of each criterion. correlations: a row for each of them, its label and its correlation
    with every one, formatted.
    """

    accuracies: list[AccuracyRow]
    heads: list[str]
    correlations: list[tuple[str, list[str]]]


def criteria_tables(report: dict[str, Any]) -> CriteriaTables | None:
    """The tables of a report's criteria; None if the model has none."""
    rows = report.get("accuracy_by_criterion")
    if not rows:
        return None
    accuracies = [
        AccuracyRow(_criterion_label(row["criterion"]), row["accuracy"], row["pairs"]) for row in rows
    ]
    heads = [gettext("Reward"), *(row.label for row in accuracies)]
    cells = [
        ["–" if value is None else format_number(value, 2) for value in values]
        for values in report["criteria_correlation"]
    ]
    return CriteriaTables(accuracies, heads, list(zip(heads, cells, strict=True)))
