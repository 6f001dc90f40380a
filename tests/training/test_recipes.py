from __future__ import annotations

import dataclasses

import pytest

from training.configs import KINDS, ConfigError, from_dict
from training.rounds.plan import plan_steps
from training.rounds.recipes import RECIPES
from training.rounds.settings import RoundSettings, settings_from
from training.rounds.steps import STEPS, step_of
from training.rounds.steps.base import PlannedStep, RoundContext, RunStep

NEW = RoundContext(
    recipe=RECIPES["dpo"],
    settings=RoundSettings(),
    needs_answers=True,
    has_demonstrations=False,
    has_safety_project=False,
    has_reward_model=False,
    has_safety_model=False,
)


def plan(recipe: str, context: RoundContext, options: dict[str, object]) -> list[PlannedStep]:
    settings = settings_from(options, recipe)
    return plan_steps(dataclasses.replace(context, recipe=RECIPES[recipe], settings=settings))


def names(recipe: str, context: RoundContext = NEW, **options: object) -> list[str]:
    return [step["name"] for step in plan(recipe, context, options)]


def parts(recipe: str, context: RoundContext, name: str, **options: object) -> list[str]:
    steps = plan(recipe, context, options)
    return [part["part"] for step in steps if step["name"] == name for part in step["parts"]]


def test_every_recipe_s_stages_have_settings_that_their_runs_know() -> None:
    for recipe in RECIPES.values():
        settings_from({}, recipe.name)
        for stage in recipe.stages:
            assert stage.kind in KINDS
            from_dict(stage.kind, dict(stage.config))


def test_a_first_round_sends_items_to_annotators_before_it_waits() -> None:
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
    later = dataclasses.replace(NEW, needs_answers=False)
    assert names("dpo", later)[0] == "collect"
    assert names("dpo", later, budget=0)[-1] == "promotion"
    assert "score" not in names("dpo", strategy="uniform")
    assert "people" in names("dpo", people_compare=5)


def test_llama_2_takes_two_methods_two_reward_models_and_two_policies() -> None:
    context = dataclasses.replace(NEW, has_safety_project=True, has_reward_model=True, has_safety_model=True)
    assert parts("llama2", context, "rewards") == ["reward", "safety", "second"]
    assert "measure-old-safety" in parts("llama2", context, "measure")
    assert [name for name in names("llama2", context) if name.startswith("improve")] == [
        "improve-1",
        "improve-2",
    ]
    assert parts("llama2", context, "fresh-answers") == ["fresh-1", "fresh-before", "fresh-safety"]
    assert parts("llama2", NEW, "rewards") == ["reward", "second"]


def test_instructgpt_learns_from_demonstrations_where_there_are_any() -> None:
    assert parts("instructgpt", NEW, "improve-2") == []
    assert parts("instructgpt", dataclasses.replace(NEW, has_demonstrations=True), "improve-2") == [
        "improve-2"
    ]


def test_several_temperatures_are_several_runs_side_by_side() -> None:
    assert parts("dpo", NEW, "fresh-answers", temperatures="0.7, 1.0, 1.3") == [
        "fresh-1",
        "fresh-2",
        "fresh-3",
    ]


def test_an_invalid_setting_is_named() -> None:
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


def test_every_planned_step_and_part_is_known_to_the_registry() -> None:
    context = dataclasses.replace(
        NEW, has_demonstrations=True, has_safety_project=True, has_reward_model=True, has_safety_model=True
    )
    seen = set()
    for recipe in RECIPES:
        planned = plan(recipe, context, {"people_compare": 5, "previous_share": 0.5})
        for planned_step in planned:
            step = step_of(planned_step["name"])
            seen.add(step.name)
            assert planned_step["does"] == step.does
            assert bool(planned_step["parts"]) == isinstance(step, RunStep)
            for part in planned_step["parts"]:
                assert isinstance(step, RunStep)
                assert step.part_label(part)
    assert seen == set(STEPS)


def test_the_steps_of_stored_plans_keep_their_names() -> None:
    assert {name: step.does for name, step in STEPS.items()} == {
        "first-answers": "runs",
        "first-questions": "ask",
        "collect": "collect",
        "freeze": "freeze",
        "judge": "runs",
        "judge-gate": "judge_gate",
        "rewards": "runs",
        "measure": "runs",
        "reward-gates": "reward_gates",
        "revise": "runs",
        "improve": "runs",
        "answers": "runs",
        "compare": "runs",
        "people": "people",
        "policy-gates": "policy_gates",
        "promotion": "decide",
        "fresh-answers": "runs",
        "score": "runs",
        "questions": "ask",
    }
    assert step_of("improve-12") is STEPS["improve"]
