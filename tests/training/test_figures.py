from __future__ import annotations

import pytest

from training import metric_labels


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("accuracy", 0.6842, "68.4%"),
        ("accuracy", 1, "100.0%"),
        ("loss", 0.61324, "0.613"),
        ("loss", None, "–"),
        ("pairs", 2100, "2,100"),
        ("lr", 5e-6, "5e-06"),
        ("tokens_per_s", 4152.34, "4,152.3"),
        ("reward_rejected", -0.4081, "-0.408"),
        ("never heard of", 2.0, "2"),
    ],
)
def test_a_value_reads_as_people_read_it(name: str, value: float | None, shown: str) -> None:
    assert metric_labels.shown(name, value) == shown


def test_results_are_numbers_only_in_a_fixed_order_and_unknown_ones_last() -> None:
    given = {
        "zeta": 3,
        "pairs": 9,
        "loss": 0.5,
        "output": "/a/b",
        "report": {},
        "already": True,
        "seconds": 4,
    }
    found = metric_labels.results(given, without={"seconds"})
    assert [result.label for result in found] == ["Loss", "Pairs", "Zeta"]


def test_a_report_s_accuracy_is_not_that_of_training() -> None:
    (result,) = metric_labels.results(metric_labels.of_report({"accuracy": 0.7}))
    assert result.sentence.startswith("How often it agrees with people, over the pairs")
    assert metric_labels.report_title({"split": "all"}) == "On every prompt"
    assert metric_labels.report_title({"split": "held_out"}) == "On held-out prompts"


def test_groups_without_pairs_are_left_out() -> None:
    report = {
        "accuracy_by_degree": {
            "none": {"accuracy": None, "pairs": 0},
            "slightly": {"accuracy": 0.55, "pairs": 20},
            "significantly": {"accuracy": 0.9, "pairs": 10},
        }
    }
    found = metric_labels.groups(report, "accuracy_by_degree")
    assert [(group.label, group.percent) for group in found] == [
        ("Significantly better", "90.0%"),
        ("Slightly better", "55.0%"),
    ]
    assert metric_labels.groups({}, "accuracy_by_degree") == []


def test_every_figure_of_a_chart_is_known() -> None:
    assert {name for chart in metric_labels.CHARTS for name in chart.names} <= set(metric_labels.FIGURES)
