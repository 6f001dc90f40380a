from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.core import tastes
from tests.training.core.conftest import sentence
from training.configs import ConfigError, PPOConfig, from_dict
from training.core.advantages import gae
from training.core.batching import rows_layout, shared_layout
from training.core.errors import BadInput
from training.core.logprobs import token_logprobs
from training.core.model_loading import load_policy
from training.core.reward_model import load_reward_model
from training.core.rollouts import Rollout
from training.core.tokenization import EncodedGroup
from training.core.train_ppo import ValueModel
from training.core.train_pretrain import train_tokenizer

TINY = {"batch_size": 4, "samples": 2, "max_new_tokens": 6, "updates": 1}


@pytest.mark.parametrize("layout", [rows_layout, shared_layout])
def test_a_value_is_the_reward_models_score_of_all_that_came_before_a_token(layout: Any):
    start = tastes.reward_model()
    groups = [EncodedGroup([1, 40, 50], [[60, 64, 70], [81]]), EncodedGroup([1, 9], [[8, 12]])]
    expected = []
    with torch.no_grad():
        for prompt, responses in groups:
            for response in responses:
                for known in range(len(response)):
                    before = [*prompt, *response[:known]]
                    expected.append(start(rows_layout([EncodedGroup(before[:1], [before[1:]])])).item())
        values = ValueModel(start)(layout(groups))
    assert values.tolist() == pytest.approx(expected, abs=1e-5)


def test_rewards_values_and_advantages_of_a_rollout_fit_together(
    models: Path, tmp_path: Path, made: list[Rollout]
):
    """From the second rollout on, when the policy has moved."""
    config = TINY | {
        "max_steps": 2,
        "beta": 0.3,
        "gamma": 0.98,
        "gae_lambda": 0.9,
        "missing_end_penalty": 0.5,
    }
    _, events = tastes.here(tastes.job(tmp_path, "ppo", models, tastes.prompts(8), config))
    rollout = made[1]
    tensors, taste = rollout.tensors, load_reward_model(str(models / "taste"))
    reference = load_policy(str(models / "policy"))
    with torch.no_grad():
        theirs = torch.cat([token_logprobs(reference, rows_layout([one.encoded])) for one in rollout.groups])
    assert torch.allclose(tensors["kl"], tensors["old"] - theirs, atol=1e-4)
    rewards = -0.3 * tensors["kl"]
    assert rewards.abs().max() > 0
    place = 0
    for one in rollout.groups:
        with torch.no_grad():
            scores = taste(rows_layout([one.encoded])).tolist()
        for response, score, ended in zip(one.encoded.responses, scores, one.finished, strict=True):
            place += len(response)
            rewards[place - 1] += score - (0.0 if ended else 0.5)
    advantages, returns = gae(rewards, tensors["values"], tensors["lengths"], gamma=0.98, lam=0.9)
    assert torch.allclose(tensors["returns"], returns, atol=1e-5)
    whitened = (advantages - advantages.mean()) / advantages.std(correction=0)
    assert torch.allclose(tensors["advantages"], whitened, atol=1e-4)
    assert tensors["advantages"].mean().item() == pytest.approx(0, abs=1e-6)
    assert tensors["advantages"].var(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert tastes.values(events, "policy_loss") == pytest.approx([0.0, 0.0], abs=1e-6), (
        "the mean of the advantages"
    )
    value_loss = 0.5 * float((tensors["values"] - returns).square().mean())
    assert tastes.values(events, "value_loss")[1] == pytest.approx(value_loss, rel=1e-4)
    assert tastes.values(events, "loss")[1] == pytest.approx(0.1 * value_loss, rel=1e-3)
    assert tastes.values(events, "kl")[1] == pytest.approx(
        rollout.sum_per_response("kl").mean().item(), rel=1e-4
    )


def test_whitened_scores_are_logits_of_mean_zero_and_variance_one(
    models: Path, tmp_path: Path, made: list[Rollout]
):
    config = TINY | {"max_steps": 1, "whiten_scores": True, "gae_lambda": 1.0, "missing_end_penalty": 0.0}
    _, events = tastes.here(tastes.job(tmp_path, "ppo", models, tastes.prompts(8), config))
    last = made[0].tensors["lengths"].cumsum(0) - 1
    scores = made[0].tensors["returns"][last]  # no divergence yet, so a return is the score
    assert scores.mean().item() == pytest.approx(0, abs=1e-5)
    assert scores.var(correction=0).item() == pytest.approx(1, abs=1e-3)
    taste = load_reward_model(str(models / "taste"))
    with torch.no_grad():
        logits = torch.cat([taste(rows_layout([one.encoded])) for one in made[0].groups])
    assert torch.corrcoef(torch.stack([logits, scores]))[0, 1] > 1 - 1e-5, "of the logit, not of its sigmoid"
    assert tastes.values(events, "reward")[0] == pytest.approx(logits.mean().item(), rel=1e-4), "as it was"


def test_an_adaptive_weight_rises_while_the_policy_is_too_far_away(models: Path, tmp_path: Path):
    config = TINY | {"max_steps": 5, "kl_target": 1e-3, "beta": 0.01}
    _, events = tastes.here(tastes.job(tmp_path, "ppo", models, tastes.prompts(8), config))
    weights, kl = (tastes.values(events, name) for name in ("beta", "kl"))
    assert weights[0] == 0.01
    for now, later, far in zip(weights, weights[1:], kl, strict=False):
        assert later == pytest.approx(now * (1.02 if far > 1.2e-3 else 0.98), rel=1e-5)


def test_an_adaptive_weight_needs_one_to_start_from():
    with pytest.raises(ConfigError, match="adaptive"):
        from_dict("ppo", {"kl_target": 5.0, "beta": 0.0})
    with pytest.raises(ConfigError, match="must not exceed the prompts per rollout"):
        from_dict("ppo", {"updates": 5, "batch_size": 4})
    with pytest.raises(ConfigError, match="needs evaluations during training"):
        from_dict("ppo", {"patience": 1})
    assert PPOConfig(updates=4, reuse=3).steps_per_rollout == 12


def test_a_reward_model_of_another_vocabulary_cannot_be_the_value_model(models: Path, tmp_path: Path):
    theirs = train_tokenizer([sentence(random.Random(number)) for number in range(200)], 300)
    (tmp_path / "other").mkdir()
    tastes.reward_model(300).save(theirs, tmp_path / "other")
    config = TINY | {"max_steps": 1}
    start = {"value_start": "reward_model"}
    job = tastes.job(tmp_path, "ppo", models, tastes.prompts(8), config | start, reward_model="other")
    with pytest.raises(BadInput, match="set value_start to policy") as caught:
        tastes.here(job)
    assert caught.value.setting == "value_start"
    job = tastes.job(
        tmp_path / "b",
        "ppo",
        models,
        tastes.prompts(8),
        config,
        reward_model="../other",
    )
    _, events = tastes.here(job)
    assert tastes.values(events, "explained_variance") == [0.0], (
        "by default it starts with no opinion, from the policy"
    )


def test_it_learns_what_the_reward_model_likes(models: Path, tmp_path: Path, do: tastes.Do):
    config = {"batch_size": 8, "epochs": 10, "samples": 6, "updates": 2, "evaluate_every": 10}
    code, events = do(tastes.job(tmp_path, "ppo", models, tastes.prompts(20), config))
    assert code == 0
    rewards, held_out = (tastes.values(events, name) for name in ("reward", "held_out_reward"))
    assert sum(rewards[-8:]) / 8 > sum(rewards[:8]) / 8 + 0.3
    assert held_out[-1] > held_out[0] + 0.3
    assert not [event for event in events if event["event"] == "warning"]
    weights = load_file(tmp_path / "output" / "model.safetensors")
    assert "score.weight" not in weights, "a policy is written, not its value model"


def test_values_stay_in_float32_in_a_run_of_bfloat16(models: Path, tmp_path: Path, made: list[Rollout]):
    config = TINY | {"max_steps": 1, "precision": "bfloat16"}
    tastes.here(tastes.job(tmp_path, "ppo", models, tastes.prompts(8), config))
    values = made[0].tensors["values"]
    assert values.abs().min() > 0
    assert not torch.equal(values, values.bfloat16().float()), "rounded to eight bits"
