"""What the methods that sample have in common: the traps of rollouts, held-out prompts, and stopping anywhere."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.core import tastes
from tests.training.core.conftest import tiny_gpt2
from tests.training.core.in_process import stored
from training.core import logprobs, rollouts, train_ppo
from training.core.batching import Batch
from training.core.diagnostics import RolloutDiagnostics
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.rollouts import Rollout
from training.core.sampling import SampledResponse

METHODS: dict[str, dict[str, Any]] = {
    "ppo": {"updates": 2, "reuse": 2, "kl_target": 1.0},
    "grpo": {"updates": 2, "samples": 3, "reduction": "token"},
    "reinforce": {"baseline": "moving_mean"},
    "online": {"labels": "soft", "samples": 3},
}
TINY = {"batch_size": 4, "samples": 2, "max_new_tokens": 4}


@pytest.mark.parametrize("dropout", [False, True], ids=["rotary", "learned positions and dropout"])
@pytest.mark.parametrize("kind", METHODS)
def test_at_the_first_step_nothing_has_moved(
    kind: str, dropout: bool, models: Path, tmp_path: Path, tokenizer, made: list[Rollout]
):
    """At a temperature other than 1, with a reference that is another copy: ratio 1 and divergence 0 to the last bit."""
    model = str(models / "policy")
    if dropout:
        policy = tiny_gpt2()
        assert policy.config.resid_pdrop > 0
        policy.save_pretrained(tmp_path / "gpt2")
        tokenizer.save_pretrained(tmp_path / "gpt2")
        model = str(tmp_path / "gpt2")
    config = TINY | METHODS[kind] | {"temperature": 0.7, "max_steps": 1}
    result, events = tastes.here(tastes.job(tmp_path, kind, models, tastes.prompts(8), config, model=model))
    figures = result["metrics"]  # events round, these are whole
    assert figures["kl"] == 0.0
    if kind in ("ppo", "grpo"):
        assert (figures["ratio"], figures["clipped"]) == (1.0, 0.0)
    assert tastes.values(events, "grad_norm")[0] > 0
    assert not [event for event in events if event["event"] == "warning"]
    if kind == "ppo":
        apart = made[0].tensors["old"] - made[0].tensors["recorded"]
        assert 0 < apart.abs().max() < 1e-3, "sampling divides by the temperature as training does"


def test_the_ids_learned_are_those_sampled_and_no_prompt_learned_from_is_held_out(
    models: Path, tmp_path: Path, tokenizer, made: list[Rollout]
):
    rows = tastes.prompts(10)
    config = TINY | {"batch_size": 3, "epochs": 2}
    result, _ = tastes.here(tastes.job(tmp_path, "reinforce", models, rows, config))
    assert result["prompts"] == 8
    held_out = {row["id"] for row in rows if row["split"] == "held_out"}
    seen = [one.source.id for rollout in made for one in rollout.groups]
    assert len(made) == 4, "two whole rollouts an epoch; two of eight prompts wait for another one"
    assert not held_out & set(seen)
    for epoch in (seen[:6], seen[6:]):
        assert len(set(epoch)) == 6
    for rollout in made:
        flat = [token for one in rollout.groups for ids in one.encoded.responses for token in ids]
        assert flat == rollout.tensors["tokens"].tolist()
        retold = [
            tokenizer(tokenizer.decode(ids), add_special_tokens=False)["input_ids"]
            for one in rollout.groups
            for ids in one.encoded.responses
        ]
        assert [token for ids in retold for token in ids] != flat, "read again, the text would be other ids"
    assert len({str(one.encoded.responses) for rollout in made for one in rollout.groups}) == 12


def test_seeds_are_a_function_of_step_prompt_and_sample(models: Path, tmp_path: Path, made: list[Rollout]):
    rows = [row | {"split": "train"} for row in tastes.prompts(4)]
    for number, order in enumerate([rows, rows[::-1]]):
        config = TINY | {"epochs": 2, "learning_rate": 1e-9}
        tastes.here(tastes.job(tmp_path / str(number), "grpo", models, order, config))
    first, later, again, _ = (
        {one.source.id: one.encoded.responses for one in rollout.groups} for rollout in made
    )
    assert first == again, "neither the order of the rows nor the company matters"
    assert len({str(ids) for responses in first.values() for ids in responses}) == 8
    assert all(first[id] != later[id] for id in first), "another time, another draw"


def test_long_prompts_lose_their_oldest_turns_or_are_left_out_and_are_counted(
    models: Path, tmp_path: Path, made: list[Rollout]
):
    rows = [row | {"split": "train"} for row in tastes.prompts(5)]
    long = {"role": "user", "content": "the ferry leaves at nine " * 30}
    rows[4]["prompt"] = [long]
    rows[0]["prompt"] = [long, {"role": "assistant", "content": "yes"}, *rows[0]["prompt"]]
    config = TINY | {"max_steps": 1, "max_length": 60}
    result, events = tastes.here(tastes.job(tmp_path, "grpo", models, rows, config))
    assert result["truncated_prompts"] == 1
    assert {group.source.id for group in made[0].groups} == {row["id"] for row in rows[:4]}
    messages = [event["message"] for event in events if event["event"] == "warning"]
    assert "1 prompts did not fit into max_length = 60 and lost their oldest turns." in messages
    assert any("1 of 5 prompts are left out" in message and "on line 5" in message for message in messages)


def test_a_mismatch_between_sampling_and_training_is_a_warning(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = rollouts.sample_responses

    def off(*arguments: Any, **options: Any) -> list[SampledResponse]:
        sampled = real(*arguments, **options)
        return [
            SampledResponse(one.token_ids, [p - 0.05 for p in one.logprobs], one.finished) for one in sampled
        ]

    monkeypatch.setattr(rollouts, "sample_responses", off)
    _, events = tastes.here(tastes.job(tmp_path, "grpo", models, tastes.prompts(8), TINY | {"max_steps": 3}))
    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert "differ by 0.05 nats" in warning


def test_a_divergence_that_stays_negative_is_a_warning():
    events = Events(io.StringIO())
    diagnostics = RolloutDiagnostics(events, "float32")
    noise = torch.tensor([-1.0, 1.0, -0.5, 0.4])
    for _ in range(20):
        diagnostics.check_kl(noise)
        diagnostics.check_kl(torch.zeros(4))
    assert not events.warnings, "chance may be below zero"
    for _ in range(4):
        diagnostics.check_kl(torch.tensor([-0.2, -0.3, -0.25]))
    assert not events.warnings
    for _ in range(4):
        diagnostics.check_kl(torch.tensor([-0.2, -0.3, -0.25]))
    assert len(events.warnings) == 1
    assert "below zero for 5 rollouts" in events.warnings[0]


def test_the_check_on_held_out_prompts_is_a_mean_over_responses(models: Path, tmp_path: Path):
    """However they are cut into passes, and whoever else is sampled."""
    found = []
    for number, most in enumerate([131_072, 64]):
        config = TINY | {"max_steps": 1, "sample_tokens": most, "batch_tokens": 64 if number else 8192}
        job = tastes.job(
            tmp_path / str(number), "grpo", models, tastes.prompts(15), config | {"evaluate_every": 1}
        )
        _, events = tastes.here(job)
        before, after = tastes.values(events, "held_out_reward")
        assert before != after, "the first check comes before the first step"
        found.append(before)
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_a_run_out_of_patience_keeps_its_best_weights(models: Path, tmp_path: Path):
    """A learning rate that spoils the policy."""
    rows, config = (
        tastes.prompts(15),
        TINY | {"learning_rate": 0.1, "max_grad_norm": 0.0, "evaluate_every": 2},
    )
    job = tastes.job(tmp_path, "reinforce", models, rows, config | {"epochs": 30, "patience": 2})
    result, events = tastes.here(job)
    warnings = [event["message"] for event in events if event["event"] == "warning"]
    assert "did not rise in 2 evaluations" in warnings[-1]
    assert [warning for warning in warnings[:-1] if "equal samples only" not in warning] == []
    checks = tastes.values(events, "held_out_reward")
    assert len(checks) < 30
    assert checks[-1] < max(checks) - 0.1, "the last weights are not the best"
    assert result["metrics"]["held_out_reward"] == pytest.approx(max(checks), rel=1e-5)
    again = tastes.job(
        tmp_path / "again", "grpo", models, rows, config | {"max_steps": 1}, model=str(tmp_path / "output")
    )
    _, events = tastes.here(again)
    assert tastes.values(events, "held_out_reward")[0] == pytest.approx(max(checks), rel=1e-5)


@pytest.mark.parametrize("kind", METHODS)
def test_both_layouts_and_any_passes_learn_the_same(kind: str, models: Path, tmp_path: Path):
    found = []
    for layout, most in (("shared", 8192), ("rows", 8192), ("shared", 64)):
        folder = tmp_path / f"{layout}-{most}"
        config = TINY | METHODS[kind] | {"batch_size": 8, "max_steps": 2, "learning_rate": 1e-4}
        config |= {"layout": layout, "batch_tokens": most}
        _, events = tastes.here(tastes.job(folder, kind, models, tastes.prompts(10), config))
        found.append([tastes.values(events, name) for name in ("loss", "grad_norm", "reward", "kl")])
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


RESUMED: dict[str, dict[str, Any]] = {
    kind: TINY | config | {"epochs": 2, "evaluate_every": 3, "patience": 9, "checkpoint_every": 3}
    for kind, config in METHODS.items()
}
RESUMED["rejection"] = TINY | {"batch_size": 2, "epochs": 2, "sample_tokens": 128, "checkpoint_every": 2}
RESUMED["hindsight"] = TINY | {"samples": 3, "updates": 2, "reuse": 2, "compare": "batch", "epochs": 2}
RESUMED["hindsight"] |= {"evaluate_every": 3, "patience": 9, "checkpoint_every": 3}
RESUMED["rest"] = RESUMED["rejection"] | {"thresholds": "0.2, 0.6, 0.8", "patience": 2}


@pytest.mark.parametrize("kind", RESUMED)
def test_a_run_stopped_at_any_moment_ends_with_the_same_weights(kind: str, models: Path, tmp_path: Path):
    """Stopped while sampling, batching, in the middle of a rollout or of a step, and each time carried on."""
    whole = tastes.job(tmp_path / "whole", kind, models, tastes.prompts(10), RESUMED[kind])
    counted = tastes.Interrupted(10**9)
    expected, _ = tastes.here(whole, counted)
    stopped = tastes.job(tmp_path / "stopped", kind, models, tastes.prompts(10), RESUMED[kind])
    stops = 0
    while True:
        try:
            result, _ = tastes.here(stopped, tastes.Interrupted(counted.chances // 4 + 3 * stops))
            break
        except Stopped:
            stops += 1
    assert stops >= 3
    ours, theirs = (load_file(at / "output" / "model.safetensors") for at in (stopped, whole))
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    assert result["metrics"]["held_out_reward"] == expected["metrics"]["held_out_reward"]
    if kind == "rejection":
        best = [(at / "output" / "best.jsonl").read_text() for at in (stopped, whole)]
        assert best[0] == best[1]


def test_a_stop_while_sampling_leaves_a_checkpoint(models: Path, tmp_path: Path):
    job = tastes.job(tmp_path, "grpo", models, tastes.prompts(10), TINY)
    with pytest.raises(Stopped):
        tastes.here(job, tastes.Interrupted(2))
    assert json.loads((job / "checkpoint" / "manifest.json").read_text())["step"] == 0


def test_old_logprobs_come_from_the_very_passes_of_the_training_steps(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[str, list[list[int]]] = {"before": [], "training": []}

    def listening(name: str) -> Any:
        def token_logprobs(policy: Any, batch: Batch, temperature: float) -> torch.Tensor:
            seen[name].append(batch.input_ids.flatten().tolist())
            return logprobs.token_logprobs(policy, batch, temperature)

        return token_logprobs

    monkeypatch.setattr(rollouts, "token_logprobs", listening("before"))
    monkeypatch.setattr(train_ppo, "token_logprobs", listening("training"))
    config = TINY | {"updates": 2, "max_steps": 2, "beta": 0.0}
    tastes.here(tastes.job(tmp_path, "ppo", models, tastes.prompts(8), config))
    assert len(seen["training"]) == 2, "two prompts in each"
    assert seen["before"] == seen["training"]


def test_a_run_stopped_at_the_first_step_on_a_rollout_does_not_adapt_its_weight_twice(
    models: Path, tmp_path: Path, made: list[Rollout]
):
    config = RESUMED["ppo"] | {"evaluate_every": 0, "patience": 0}
    whole, stopped = (
        tastes.job(tmp_path / name, "ppo", models, tastes.prompts(10), config)
        for name in ("whole", "stopped")
    )
    tastes.here(whole)
    made.clear()

    class Late(tastes.Interrupted):
        @property
        def stop_requested(self) -> bool:
            self.chances += len(made) == 2
            return self.chances >= self.moment

        @stop_requested.setter
        def stop_requested(self, value: bool) -> None:
            pass

    with pytest.raises(Stopped):
        tastes.here(
            stopped, Late(8)
        )  # after the rewards, and two passes each of policy, values and reference
    kept = stored(stopped, "extra")
    assert kept["rollout.number"] == 1
    assert json.loads((stopped / "checkpoint" / "manifest.json").read_text())["step"] == 4
    tastes.here(stopped)
    ours, theirs = (load_file(at / "output" / "model.safetensors") for at in (stopped, whole))
    assert all(ours[name].equal(theirs[name]) for name in theirs)


def test_a_run_killed_within_a_rollout_ends_with_the_same_weights(models: Path, tmp_path: Path):
    """Back to the last checkpoint, which has the rollout and the state that goes from one to the next."""

    class Killed(Events):
        def progress(self, step: int, total: int, expected_end: float | None = None) -> None:
            if step == 8:
                raise KeyboardInterrupt

    config = RESUMED["ppo"]
    whole, killed = (
        tastes.job(tmp_path / name, "ppo", models, tastes.prompts(10), config) for name in ("whole", "killed")
    )
    tastes.here(whole)
    with pytest.raises(KeyboardInterrupt):
        tastes.here(killed, Killed(io.StringIO()))
    kept = stored(killed, "extra")
    assert json.loads((killed / "checkpoint" / "manifest.json").read_text())["step"] == 6
    assert {"rollout.tokens", "rollout.advantages", "rollout.old", "metric.reward", "beta"} <= kept.keys()
    assert kept["beta"] != 0.05
    tastes.here(killed)
    ours, theirs = (load_file(at / "output" / "model.safetensors") for at in (killed, whole))
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    shutil.rmtree(killed)


@pytest.mark.parametrize(
    ("change", "words", "setting"),
    [
        (
            {"config": {"patience": 2, "evaluate_every": 1}, "rows": 4},
            "Early stopping needs held-out prompts",
            "patience",
        ),
        ({"config": {"max_new_tokens": 130, "max_length": 200}}, "lower max_new_tokens", "max_new_tokens"),
        ({"reward_model": None}, "needs a reward_model", "reward_model"),
        ({"reward_model": "policy"}, "is not a reward model", "reward_model"),
        ({"reference": "nowhere/at/all"}, "no model at", "reference"),
        ({"held_out": True}, "No row of data.jsonl is a prompt to train on", None),
    ],
)
def test_what_cannot_work_is_refused(
    change: dict[str, Any], words: str, setting: str | None, models: Path, tmp_path: Path
):
    rows = tastes.prompts(change.get("rows", 8))
    if change.get("held_out"):
        rows = [row | {"split": "held_out"} for row in rows]
    more = {name: change[name] for name in ("reward_model", "reference") if name in change}
    if more.get("reward_model"):
        more["reward_model"] = str(models / more["reward_model"])
    job = tastes.job(tmp_path, "grpo", models, rows, TINY | change.get("config", {}), **more)
    with pytest.raises(BadInput, match=words) as caught:
        tastes.here(job)
    assert caught.value.setting == setting
