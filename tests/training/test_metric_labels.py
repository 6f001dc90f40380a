from __future__ import annotations

import pytest

from training import metric_labels
from training.runs.curves import CHARTS, COIN_FLIPS, UNITS


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.6842, "68.4%"),
        ("accuracy", 1, "100.0%"),
        ("loss", 0.61324, "0.613"),
        ("loss", None, "–"),
        ("pairs", 2100, "2,100"),
        ("lr", 5e-6, "5e-06"),
        ("tokens_per_s", 4152.34, "4,152.3"),
        ("reward_rejected", -0.4081, "-0.408"),
        ("unknown", 2.0, "2"),
    ],
)
def test_a_value_is_formatted_by_its_metric(name: str, value: float | None, text: str) -> None:
    assert metric_labels.format_value(name, value) == text


def test_only_numbers_are_listed_in_a_fixed_order_and_unknown_ones_last() -> None:
    values = {
        "zeta": 3,
        "pairs": 9,
        "loss": 0.5,
        "output": "/a/b",
        "report": {},
        "cached": True,
        "seconds": 4,
    }
    labelled = metric_labels.labelled_values(values, without={"seconds"})
    assert [metric.label for metric in labelled] == ["Loss", "Pairs", "Zeta"]


def test_a_report_s_accuracy_is_not_that_of_training() -> None:
    (metric,) = metric_labels.report_values({"accuracy": 0.7})
    assert metric.description.startswith("How often it agrees with people on the pairs")
    for split, inputs, title in (
        ("all", {}, "On every prompt"),
        ("all", {"after": 7}, "On new judgments of every prompt"),
        ("held_out", {}, "On held-out prompts"),
        ("held_out", {"after": 0}, "On held-out prompts"),
        ("held_out", {"after": 7}, "On new judgments of held-out prompts"),
        ("held_out", {"swap": True}, "On training prompts, which this model did not learn from"),
        (
            "held_out",
            {"swap": True, "after": 7},
            "On new judgments of training prompts, which this model did not learn from",
        ),
    ):
        assert metric_labels.report_title({"split": split}, inputs) == title


def test_rows_without_pairs_are_left_out() -> None:
    report = {
        "accuracy_by_degree": {
            "none": {"accuracy": None, "pairs": 0},
            "slightly": {"accuracy": 0.55, "pairs": 20},
            "significantly": {"accuracy": 0.9, "pairs": 10},
        }
    }
    rows = metric_labels.accuracy_rows(report, "accuracy_by_degree")
    assert [(row.label, row.percent) for row in rows] == [
        ("Significantly better", "90.0%"),
        ("Slightly better", "55.0%"),
    ]
    assert metric_labels.accuracy_rows({}, "accuracy_by_degree") == []


def test_every_metric_of_a_chart_is_labelled() -> None:
    charted = {name for chart in CHARTS for name in chart.names}
    assert charted | set(UNITS) | set(COIN_FLIPS) <= set(metric_labels.METRIC_LABELS)
