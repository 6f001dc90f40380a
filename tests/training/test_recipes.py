from __future__ import annotations

import dataclasses

import pytest

from training.configs import KINDS, ConfigError, from_dict
from training.rounds.plan import Facts, plan_of
from training.rounds.recipes import RECIPES
from training.rounds.settings import RoundSettings, settings_from

NEW = Facts(asks_first=True, demonstrations=False, safety=False, old_reward=False, old_safety=False)


def names(recipe: str, facts: Facts = NEW, **options: object) -> list[str]:
    return [step["name"] for step in plan_of(RECIPES[recipe], settings_from(options, recipe), facts)]


def parts(recipe: str, facts: Facts, step: str, **options: object) -> list[str]:
    plan = plan_of(RECIPES[recipe], settings_from(options, recipe), facts)
    return [part["part"] for one in plan if one["name"] == step for part in one["parts"]]


def test_every_recipe_s_stages_have_settings_that_their_runs_know() -> None:
    for recipe in RECIPES.values():
        settings_from({}, recipe.name)
        for stage in recipe.stages:
            assert stage.kind in KINDS
            from_dict(stage.kind, dict(stage.config))


def test_a_first_round_asks_people_before_it_waits_for_them() -> None:
    assert names("dpo") == [
        *("first-answers", "first-questions", "collect", "freeze", "rewards", "measure", "reward-gates"),
        *(
            "improve-1",
            "answers",
            "compare",
            "policy-gates",
            "promotion",
            "fresh-answers",
            "score",
            "questions",
        ),
    ]
    later = dataclasses.replace(NEW, asks_first=False)
    assert names("dpo", later)[0] == "collect"
    assert names("dpo", later, budget=0)[-1] == "promotion"
    assert "score" not in names("dpo", strategy="uniform")
    assert "people" in names("dpo", people_compare=5)


def test_llama_2_takes_two_methods_two_reward_models_and_two_policies() -> None:
    facts = dataclasses.replace(NEW, safety=True, old_reward=True, old_safety=True)
    assert parts("llama2", facts, "rewards") == ["reward", "safety", "second"]
    assert "measure-old-safety" in parts("llama2", facts, "measure")
    assert [name for name in names("llama2", facts) if name.startswith("improve")] == [
        "improve-1",
        "improve-2",
    ]
    assert parts("llama2", facts, "fresh-answers") == ["fresh-1", "fresh-before", "fresh-safety"]
    assert parts("llama2", NEW, "rewards") == ["reward", "second"]


def test_instructgpt_learns_from_demonstrations_where_there_are_any() -> None:
    assert parts("instructgpt", NEW, "improve-2") == []
    assert parts("instructgpt", dataclasses.replace(NEW, demonstrations=True), "improve-2") == ["improve-2"]


def test_several_temperatures_are_several_runs_side_by_side() -> None:
    assert parts("dpo", NEW, "fresh-answers", temperatures="0.7, 1.0, 1.3") == [
        "fresh-1",
        "fresh-2",
        "fresh-3",
    ]


def test_what_does_not_fit_is_named() -> None:
    for options, recipe, field in (
        ({"judgments": 0}, "dpo", "judgments"),
        ({"colour": 1}, "dpo", "colour"),
        ({"temperatures": "warm"}, "dpo", "temperatures"),
        ({"temperatures": "0"}, "dpo", "temperatures"),
        ({"start": "base"}, "dpo", "start"),
        ({}, "alchemy", "recipe"),
    ):
        with pytest.raises(ConfigError) as caught:
            settings_from(options, recipe)
        assert caught.value.field == field
    assert settings_from({"start": "base"}, "instructgpt") == RoundSettings(start="base")
