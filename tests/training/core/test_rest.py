from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.core import tastes
from training.configs import ConfigError, ReSTConfig, from_dict
from training.core import train_rest
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.scored_samples import ScoredResponse
from training.core.tokenization import EncodedGroup
from training.core.train_rest import choose_batch, plan_improve_steps

TINY = {"batch_size": 8, "samples": 4, "epochs": 1}
SOURCE: Any = None


def scored(*rewards: float) -> list[ScoredResponse]:
    """Responses with these rewards, each told by its one token."""
    return [
        ScoredResponse(SOURCE, EncodedGroup([1], [[token]]), reward) for token, reward in enumerate(rewards)
    ]


def plan(rewards: list[float], **config: Any) -> tuple[list[tuple[float, list[float | None]]], float | None]:
    steps, unmet = plan_improve_steps(scored(*rewards), ReSTConfig(**config))
    return [(step.threshold, [response.reward for response in step.responses]) for step in steps], unmet


def test_each_improve_step_learns_from_the_responses_above_its_threshold() -> None:
    # normalised: 0, 0.25, 0.5, 0.75 and 1, of mean 0.5
    rewards = [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert plan(rewards, thresholds="0.6, 0.75, 0.9") == (
        [(0.6, [1.0, 2.0]), (0.75, [2.0]), (0.9, [2.0])],
        None,
    )
    assert plan(rewards, thresholds="0, 0.25, 0.5, 0.75") == (
        [(0.5, [1.0, 2.0]), (0.75, [2.0])],
        None,
    ), "the mean comes first, and no threshold below it follows"


def test_nothing_follows_a_threshold_that_no_response_exceeds() -> None:
    assert plan([0.0, 1.0], thresholds="0.7, 1") == ([(0.7, [1.0])], 1.0)
    assert plan([3.0, 3.0], thresholds="0, 0.5") == ([], 0.0), "equal rewards"


def test_every_epoch_of_an_improve_step_has_all_its_responses_in_another_order() -> None:
    config = ReSTConfig(batch_size=2, epochs=2, thresholds="0.1, 0.6")
    (first, second), _ = plan_improve_steps(scored(0.0, 0.0, 0.0, 0.0, 0.7, 0.8, 0.85, 0.9, 1.0), config)
    assert (first.start, first.end, second.start, second.end) == (0, 6, 6, 12)
    orders = []
    for number, step in enumerate((first, second)):
        for epoch in range(2):
            places = range(step.start + 3 * epoch, step.start + 3 * (epoch + 1))
            batches = [choose_batch(step, at, first_epoch=2 * number, config=config) for at in places]
            assert [len(batch) for batch in batches] == [2, 2, 1]
            orders.append([response.reward for batch in batches for response in batch])
            assert sorted(orders[-1], key=float) == [0.7, 0.8, 0.85, 0.9, 1.0]
    assert len({str(order) for order in orders}) == 4


@pytest.mark.parametrize(
    "thresholds",
    [
        "",
        "high",
        "0.5, 0.5",
        "0.9, 0.7",
        "0.5, 1.1",
        "-0.1",
        "nan",
        ", ".join(str(n / 50) for n in range(21)),
    ],
)
def test_thresholds_are_rising_numbers_from_0_to_1(thresholds: str) -> None:
    with pytest.raises(ConfigError, match="rising numbers from 0 to 1") as caught:
        from_dict("rest", {"thresholds": thresholds})
    assert caught.value.field == "thresholds"


def test_the_run_reports_its_thresholds_and_how_many_responses_exceed_them(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown: list[list[float]] = []
    real = train_rest.plan_improve_steps

    def listening(responses: Any, config: Any) -> Any:
        grown.append([response.reward for response in responses])
        return real(responses, config)

    monkeypatch.setattr(train_rest, "plan_improve_steps", listening)
    config = TINY | {"thresholds": "0.1, 0.8, 1", "patience": 0, "lr_decay": 0.5, "learning_rate": 1e-3}
    job = tastes.job(tmp_path, "rest", models, tastes.prompts(10), config | {"missing_end_penalty": 0.0})
    result, events = tastes.here(job)
    [rewards] = grown
    assert len(rewards) == result["responses"] == 32, "eight training prompts, four responses each"
    assert result["metrics"]["reward"] == pytest.approx(sum(rewards) / 32, rel=1e-5)
    normalised = [(reward - min(rewards)) / (max(rewards) - min(rewards)) for reward in rewards]
    mean = sum(normalised) / 32
    counts = [sum(value > threshold for value in normalised) for threshold in (max(0.1, mean), 0.8)]
    assert tastes.values(events, "threshold") == pytest.approx([max(0.1, mean), 0.8], abs=1e-5)
    assert tastes.values(events, "selected") == counts
    steps = [math.ceil(count / 8) for count in counts]
    assert tastes.values(events, "lr") == pytest.approx([1e-3] * steps[0] + [5e-4] * steps[1])
    assert result["improve_steps"] == 2
    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert warning == "No response has a reward above the threshold 1: the run ends after 2 Improve steps."
    assert len(tastes.values(events, "held_out_reward")) == 3, "before the first Improve step and after each"
    assert tastes.values(events, "held_out_kl")[0] == pytest.approx(0.0, abs=1e-4)


def test_the_run_ends_when_the_score_no_longer_rises_and_keeps_the_best_weights(
    models: Path, tmp_path: Path
) -> None:
    """The second reward model dislikes what the first likes, so no Improve step is better than the policy before."""
    (tmp_path / "dislikes").mkdir()
    tastes.reward_model(sign=-1.0).save(tastes_tokenizer(models), tmp_path / "dislikes")
    config = TINY | {"samples": 8, "thresholds": "0.1, 0.6, 0.9", "epochs": 4}
    job = tastes.job(
        tmp_path / "job",
        "rest",
        models,
        tastes.prompts(30),
        config,
        second_reward_model=str(tmp_path / "dislikes"),
    )
    result, events = tastes.here(job)
    assert (result["improve_steps"], result["metrics"]["best_step"]) == (1, 0)
    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert "the second reward on held-out prompts did not rise in 1 evaluation." in warning
    before, after = tastes.values(events, "held_out_reward")
    assert after > before
    ours, theirs = (load_file(at / "model.safetensors") for at in (job / "output", models / "policy"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def tastes_tokenizer(models: Path) -> Any:
    from training.core.model_loading import load_tokenizer

    return load_tokenizer(str(models / "policy"))[0]


def test_without_held_out_prompts_all_improve_steps_are_taken(models: Path, tmp_path: Path) -> None:
    rows = [row | {"split": "train"} for row in tastes.prompts(4)]
    result, events = tastes.here(
        tastes.job(tmp_path, "rest", models, rows, TINY | {"thresholds": "0.1, 0.7"})
    )
    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert "no held-out prompts" in warning
    assert result["improve_steps"] == 2
    assert "best_step" not in result["metrics"]


def test_max_steps_ends_the_run_within_an_improve_step(models: Path, tmp_path: Path) -> None:
    config = TINY | {"thresholds": "0.1, 0.7", "batch_size": 1, "max_steps": 3}
    result, events = tastes.here(tastes.job(tmp_path, "rest", models, tastes.prompts(10), config))
    assert len(tastes.values(events, "lr")) == 3
    assert result["improve_steps"] == 1


def test_rows_with_an_answer_are_refused(models: Path, tmp_path: Path) -> None:
    rows = [*tastes.prompts(3), {"id": 9, "prompt": [{"role": "user", "content": "a"}], "answer": "b"}]
    with pytest.raises(BadInput, match="only a rejection job"):
        tastes.here(tastes.job(tmp_path, "rest", models, rows, TINY))


def test_it_learns_what_the_reward_model_likes(models: Path, tmp_path: Path, do: tastes.Do) -> None:
    config = {"samples": 16, "batch_size": 8, "epochs": 2, "thresholds": "0.5, 0.7, 0.8"}
    code, events = do(tastes.job(tmp_path, "rest", models, tastes.prompts(40), config))
    assert code == 0
    figures = tastes.values(events, "held_out_reward")
    assert figures[-1] > figures[0] + 0.15


def test_a_run_ended_by_its_budget_and_stopped_before_its_output_learns_no_more(
    models: Path, tmp_path: Path
) -> None:
    class StopsAfterAStep(Events):
        def metrics(self, step: int, values: Any) -> None:
            super().metrics(step, values)
            self.stop_requested = self.stop_requested or "lr" in values

    config = TINY | {"thresholds": "0.1, 0.7", "batch_size": 2, "max_tokens": 1}
    job = tastes.job(tmp_path, "rest", models, tastes.prompts(10), config)
    with pytest.raises(Stopped):
        tastes.here(job, StopsAfterAStep(io.StringIO()))
    _, events = tastes.here(job)
    assert tastes.values(events, "lr") == []
