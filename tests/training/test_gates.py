from __future__ import annotations

from typing import Any

import pytest

from training.rounds.accuracy_loss import AccuracyLoss
from training.rounds.gate_thresholds import SETTING_OF, describe_gates, format_figure
from training.rounds.gates import Gate, policy_gates, reward_gates
from training.rounds.settings import GATE_SETTINGS, RoundSettings

GOOD = {
    "accuracy": 0.72,
    "pairs": 300,
    "annotator_agreement": 0.75,
    "accuracy_where_repeated": 0.70,
    "ece": 0.04,
    "unsafe_recall": 0.9,
    "unsafe_labels": 40,
}
WIN = {
    "name": "reward",
    "mean": 0.6,
    "low": 0.55,
    "high": 0.65,
    "prompts": 90,
}


def of_rewards(
    new: dict[str, Any], loss: AccuracyLoss | None = None, judgments: int = 500
) -> dict[str, Gate]:
    gates = reward_gates(new=new, loss=loss, judgments=judgments, settings=RoundSettings())
    return {gate.name: gate for gate in gates}


def of_policy(**report: Any) -> dict[str, Gate]:
    report = {"wins": [WIN | {"must": "win"}], "kl": 5.0, "length_ratio": 1.1} | report
    return {gate.name: gate for gate in policy_gates(report=report, settings=RoundSettings())}


def test_a_good_reward_model_passes_all() -> None:
    gates = of_rewards(GOOD, AccuracyLoss(0.72, 0.72, -0.02, 0.02, 300))
    assert [gate.name for gate in gates.values() if not gate.passed] == []
    assert "72.0% of 300 new held-out pairs" in gates["accuracy"].sentence


def test_each_gate_depends_on_its_own_figure() -> None:
    for changes, name, words in (
        ({"accuracy": 0.51, "accuracy_where_repeated": 0.75}, "accuracy", "the minimum is 55.0%"),
        ({"accuracy_where_repeated": 0.6}, "of_people", "The minimum is 66.2%"),
        ({"ece": 0.2}, "calibration", "error is 20.0%"),
        ({"unsafe_recall": 0.4}, "unsafe_recall", "40.0% of 40 unsafe"),
    ):
        gates = of_rewards(GOOD | changes)
        assert [gate.name for gate in gates.values() if not gate.passed] == [name]
        assert words in gates[name].sentence
    assert not of_rewards(GOOD, judgments=49)["judgments"].passed


def test_a_figure_at_its_threshold_is_enough() -> None:
    settings = RoundSettings()
    at = {
        "accuracy": settings.min_accuracy,
        "annotator_agreement": 1.0,
        "accuracy_where_repeated": 0.5 + 0.5 * settings.of_people,
        "ece": settings.max_calibration,
        "unsafe_recall": settings.min_unsafe_recall,
    }
    gates = of_rewards(at, judgments=settings.min_judgments)
    assert [gate.name for gate in gates.values() if not gate.passed] == []
    assert of_policy(kl=settings.max_kl, length_ratio=settings.max_length_drift)["kl"].passed


def test_a_reward_model_cannot_be_judged_by_people_who_agree_by_chance() -> None:
    by_chance = GOOD | {
        "annotator_agreement": 0.475,
        "annotator_agreement_interval": [0.41, 0.54],
        "annotator_comparisons": 120,
        "accuracy_where_repeated": 0.48,
    }
    gate = of_rewards(by_chance)["of_people"]
    assert (gate.passed, gate.figure) == (False, None)
    assert "Cannot be judged" in gate.sentence
    assert "47.5% [41.0%, 54.0%] of 120 pairs" in gate.sentence
    assert not of_rewards(
        by_chance | {"annotator_agreement": 0.56, "annotator_agreement_interval": [0.49, 0.63]}
    )["of_people"].passed
    few = of_rewards(by_chance | {"annotator_agreement_interval": [0.36, 0.59]})["of_people"]
    assert few.passed  # nor can it be told that they agree by chance
    assert "Cannot be judged" in few.sentence


def test_agreement_with_people_is_counted_beyond_chance() -> None:
    clear = GOOD | {"annotator_agreement": 0.6, "annotator_agreement_interval": [0.59, 0.61]}
    assert of_rewards(clear | {"accuracy_where_repeated": 0.57})["of_people"].passed
    gate = of_rewards(clear | {"accuracy_where_repeated": 0.54})["of_people"]
    assert not gate.passed  # 90% of their agreement, but only 40% of it beyond chance
    assert (gate.figure, gate.threshold) == (0.54, pytest.approx(0.5 + 0.65 * 0.09))
    assert "The minimum is 55.9%: beyond chance, 65% of the low end of their agreement." in gate.sentence


def test_a_round_is_not_held_for_the_noise_of_few_repeated_items() -> None:
    uncertain = GOOD | {
        "annotator_agreement": 0.667,
        "annotator_agreement_interval": [0.525, 0.833],
        "accuracy_where_repeated": 0.597,
    }
    assert of_rewards(uncertain)["of_people"].passed
    assert not of_rewards(uncertain | {"accuracy_where_repeated": 0.51})["of_people"].passed


def test_a_small_accuracy_loss_is_allowed() -> None:
    assert of_rewards(GOOD, AccuracyLoss(0.74, 0.72, 0.01, 0.03, 900))["may_lose"].passed
    worse = of_rewards(GOOD, AccuracyLoss(0.76, 0.72, 0.031, 0.049, 900))["may_lose"]
    assert not worse.passed
    assert (
        "On the same 900 pairs the accuracy of the old one is 76.0%, and of the new one 72.0%: a change of -4.0 points"
        " [-4.9, -3.1]. The whole interval must not be below -3.0 points." in worse.sentence
    )


def test_a_round_is_not_held_for_a_loss_that_few_pairs_explain() -> None:
    few = of_rewards(GOOD, AccuracyLoss(0.8, 0.7, -0.02, 0.22, 60))["may_lose"]
    assert few.passed
    assert "a change of -10.0 points [-22.0, +2.0]" in few.sentence
    same = of_rewards(GOOD, AccuracyLoss(0.7, 0.7, -0.0001, 0.0001, 60))["may_lose"]
    assert "a change of 0.0 points [0.0, 0.0]" in same.sentence


def test_a_round_is_not_held_for_a_calibration_error_that_few_pairs_explain() -> None:
    few = of_rewards(GOOD | {"ece": 0.2, "ece_by_chance": 0.22})["calibration"]
    assert few.passed
    assert "on so few pairs that of a perfectly calibrated model may reach 22.0%" in few.sentence
    assert not of_rewards(GOOD | {"ece": 0.2, "ece_by_chance": 0.19})["calibration"].passed
    many = of_rewards(GOOD | {"ece": 0.14, "ece_by_chance": 0.02})["calibration"]
    assert (many.passed, many.threshold) == (True, RoundSettings().max_calibration)


def test_a_gate_without_data_is_passed_and_says_so() -> None:
    gates = of_rewards({})
    assert all(gate.passed and gate.figure is None for name, gate in gates.items() if name != "judgments")
    assert "unknown" in gates["of_people"].sentence
    assert "no old reward model, or no judgment" in gates["may_lose"].sentence


def test_the_whole_interval_of_the_reward_model_must_be_above_one_half() -> None:
    assert of_policy()["wins_reward"].passed
    close = of_policy(wins=[WIN | {"must": "win", "low": 0.49}])["wins_reward"]
    assert not close.passed
    assert "[49.0%, 65.0%]" in close.sentence
    assert not of_policy(wins=[WIN | {"must": "win", "low": 0.5}])["wins_reward"].passed


def test_few_prompts_and_few_pairs_are_said() -> None:
    few = WIN | {"must": "win", "prompts": 29}
    assert "chance decides much" in of_policy(wins=[few])["wins_reward"].sentence
    assert "chance" not in of_policy(wins=[few | {"prompts": 30}])["wins_reward"].sentence
    assert "chance decides much" in of_rewards(GOOD | {"pairs": 29})["accuracy"].sentence


def test_others_must_only_not_be_sure_of_the_contrary() -> None:
    second = WIN | {"name": "second", "must": "keep"}
    assert of_policy(wins=[second | {"low": 0.4, "high": 0.52}])["wins_second"].passed
    assert of_policy(wins=[second | {"low": 0.3, "high": 0.5}])["wins_second"].passed
    assert not of_policy(wins=[second | {"low": 0.3, "high": 0.48}])["wins_second"].passed
    tagged = of_policy(
        wins=[second | {"name": "tagged", "reward_model": "second", "tag": "harm", "low": 0.3, "high": 0.48}]
    )["wins_tagged"]
    assert not tagged.passed
    assert "less safe" in tagged.sentence


def test_a_policy_with_a_large_kl_or_other_lengths_does_not_pass() -> None:
    assert not of_policy(kl=61.0)["kl"].passed
    assert of_policy(kl=None)["kl"].passed
    for ratio, passed in ((1.51, False), (0.6, False), (1.49, True), (0.7, True), (None, True)):
        assert of_policy(length_ratio=ratio)["length"].passed is passed


def test_the_thresholds_are_described_with_the_recipe_s_own_where_they_differ() -> None:
    headings = dict(describe_gates(RoundSettings(may_lose=0.02, max_kl=20.0, min_ai_agreement=0.9), "dpo"))
    by_sentence = {item.sentence: item.default for items in headings.values() for item in items}
    assert (
        by_sentence["At most 2 points less accurate than the old reward model, allowing for chance."]
        == "3 points"
    )
    assert by_sentence["KL from the reference of at most 20 nats per response."] == "60"
    assert [text for text, default in by_sentence.items() if default] == [
        "At most 2 points less accurate than the old reward model, allowing for chance.",
        "KL from the reference of at most 20 nats per response.",
    ]
    with_judge = describe_gates(RoundSettings(min_ai_agreement=0.9), "rlaif")
    assert [item.default for item in with_judge[0][1]] == ["85%"]


def test_every_gate_with_a_threshold_of_its_own_names_its_setting() -> None:
    names = {*of_rewards(GOOD, AccuracyLoss(0.72, 0.72, -0.02, 0.02, 300)), *of_policy(), "ai_agreement"}
    assert set(SETTING_OF) == {name for name in names if name != "of_people" and not name.startswith("wins_")}
    assert set(SETTING_OF.values()) | {"of_people"} == set(GATE_SETTINGS)


@pytest.mark.parametrize(
    ("gate", "figure", "text"),
    [
        ("kl", 0.9876, "0.988 nats"),
        ("kl", 1234.5, "1,234 nats"),
        ("length", 1.066, "1.07×"),
        ("may_lose", 0.021, "2.1 points worse"),
        ("accuracy", 0.635, "63.5%"),
        ("judgments", 1163, "1,163"),
    ],
)
def test_figures_have_their_units(gate: str, figure: float, text: str) -> None:
    assert format_figure(gate, figure, is_share=gate != "kl") == text
