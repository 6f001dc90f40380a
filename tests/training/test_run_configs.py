from __future__ import annotations

from typing import Any

import pytest

from tests.pseudo_language import pseudo, pseudo_language
from training.configs import ConfigError, from_dict
from training.errors import describe_error, message_of
from training.rounds.recipes import RECIPES
from training.rounds.run_configs import ConfigsError, check

Configs = dict[str, dict[str, Any]]


@pytest.mark.parametrize(
    ("configs", "kind", "sentence"),
    [
        ({"dpo": {"epochs": 0}}, "dpo", "epochs: must be at least"),
        ({"dance": {}}, "dance", "kind: there is no kind of run called 'dance'"),
        ({"ppo": {"steps_of_a_dance": 1}}, "ppo", "steps_of_a_dance: a ppo run has no such setting"),
        ({"*": {"dance": 1}}, "*", "dance: no kind of run has such a setting"),
        ({"*": {"epochs": 0}}, "*", "epochs: in a .* run it must be at least"),
        # each would do alone
        ({"*": {"patience": 2}}, "*", "patience: in a reward run it needs evaluations during training"),
        ({"reward": {"patience": 2}}, "reward", "patience: needs evaluations during training"),
        (
            {"*": {"margin": "small"}, "dpo": {"loss": "ipo"}},
            "*",
            "margin: in a dpo run it must be none with IPO",
        ),
    ],
)
def test_an_invalid_setting_is_located(configs: Configs, kind: str, sentence: str) -> None:
    with pytest.raises(ConfigsError, match=sentence) as refused:
        check(configs, RECIPES["dpo"].stages)
    assert refused.value.kind == kind


@pytest.mark.parametrize(
    "configs",
    [
        {},
        {"*": {"patience": 2, "evaluate_every": 5}},
        {"*": {"patience": 2}, "reward": {"evaluate_every": 5}, "dpo": {"evaluate_every": 0.5}},
        {"*": {"evaluate_every": 5}, "reward": {"patience": 2}},
        {"ppo": {"samples": 4}},
    ],
)
def test_a_valid_combination_is_accepted(configs: Configs) -> None:
    check(configs, RECIPES["dpo"].stages)


def test_errors_are_in_the_readers_language_with_their_values() -> None:
    with pytest.raises(ConfigError) as refused:
        from_dict("dpo", {"epochs": 0})
    with pytest.raises(ConfigsError) as located, pseudo_language():
        check({"*": {"epochs": 0}}, RECIPES["dpo"].stages)
    assert refused.value.message == "must be at least 1, not 0."
    with pseudo_language():
        reason = pseudo("must be at least %(bound)s, not %(value)s.") % {"bound": 1, "value": 0}
        assert message_of(refused.value) == reason
        assert describe_error(refused.value) == f"epochs: {reason}"
        assert message_of(located.value).endswith(f" {reason}")
