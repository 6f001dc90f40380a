"""Online DPO: its pairs and loss by hand, its first gradients from the models' own logits, and that it learns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import logsigmoid

from tests.training.core import tastes
from tests.training.core.test_grpo import expected_norm, naive_logprobs, scores
from training.core.data import RolloutPrompt
from training.core.model_loading import load_policy
from training.core.rewards import RolloutGroup
from training.core.rollouts import Rollout
from training.core.tokenization import EncodedGroup
from training.core.train_online import sampled_pairs

TINY = {"batch_size": 4, "max_new_tokens": 6, "temperature": 0.8, "max_steps": 2, "beta": 0.3}


def group(first: int, k: int) -> RolloutGroup:
    source = RolloutPrompt(1, "p", [{"role": "user", "content": "a"}], False, False, None, None, None, None)
    return RolloutGroup(source, EncodedGroup([1], [[2]] * k), [True] * k, first=first)


def test_the_pairs_of_samples_by_hand() -> None:
    rewards = torch.tensor([9.0, 9.0, 1.0, 3.0, 2.0, 2.0])
    hard = sampled_pairs([group(2, 2), group(4, 2)], rewards, "hard")
    assert (hard.chosen.tolist(), hard.rejected.tolist(), hard.probability.tolist()) == ([1], [0], [1.0])
    soft = sampled_pairs([group(2, 2), group(4, 2)], rewards, "soft")
    assert (soft.chosen.tolist(), soft.rejected.tolist()) == ([1, 2], [0, 3])
    assert soft.probability.tolist() == pytest.approx([1 / (1 + math.exp(-2)), 0.5])
    three = sampled_pairs([group(1, 3)], rewards, "hard")  # 9, 1, 3
    assert list(zip(three.chosen.tolist(), three.rejected.tolist(), strict=True)) == [(0, 1), (0, 2), (2, 1)]
    assert three.weights("prompt").tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("labels", ["hard", "soft"])
@pytest.mark.parametrize("samples", [2, 3])
def test_the_loss_is_dpo_s_on_the_samples(
    labels: str, samples: int, models: Path, tmp_path: Path, made: list[Rollout]
) -> None:
    """Of two steps, on samples of two policies; the first policy is the reference."""
    config = TINY | {"labels": labels, "samples": samples, "schedule": "constant", "learning_rate": 1e-3}
    once = tastes.job(tmp_path / "once", "online", models, tastes.prompts(8), config | {"max_steps": 1})
    tastes.here(once)
    _, events = tastes.here(tastes.job(tmp_path / "two", "online", models, tastes.prompts(8), config))
    reference = load_policy(str(models / "policy"))
    for step, (rollout, source) in enumerate(
        zip(made[1:], (models / "policy", once / "output"), strict=True)
    ):
        policy = load_policy(str(source))
        with torch.no_grad():
            theirs = naive_logprobs(reference, rollout, 0.8)
        ratios = [
            0.3 * (own - other).sum()
            for own, other in zip(naive_logprobs(policy, rollout, 0.8), theirs, strict=True)
        ]
        rewards = rollout.tensors["rewards"]  # which is better may depend on their last bit
        assert torch.allclose(rewards, scores(models, rollout), atol=1e-5)
        by_prompt: list[torch.Tensor] = []
        for start in range(0, len(rewards), samples):
            terms = []
            for i in range(start, start + samples):
                for j in range(i + 1, start + samples):
                    d = ratios[i] - ratios[j]
                    p = torch.sigmoid(rewards[i] - rewards[j])
                    if labels == "hard":
                        if rewards[i] == rewards[j]:
                            continue
                        p = (rewards[i] > rewards[j]).float()
                    terms.append(-p * logsigmoid(d) - (1 - p) * logsigmoid(-d))
            by_prompt += [torch.stack(terms).mean()] if terms else []
        loss = torch.stack(by_prompt).mean()
        assert tastes.values(events, "loss")[step] == pytest.approx(loss.item(), rel=1e-3)
        assert tastes.values(events, "grad_norm")[step] == pytest.approx(
            expected_norm(loss, policy), rel=2e-3
        )
    assert tastes.values(events, "kl")[0] == 0.0


def test_equal_rewards_are_no_pair_and_nothing_moves(models: Path, tmp_path: Path, tokenizer: Any) -> None:
    """A reward model that likes all alike."""
    (tmp_path / "blind").mkdir()
    tastes.reward_model(sign=0.0).save(tokenizer, tmp_path / "blind")
    config = TINY | {"missing_end_penalty": 0.0, "max_steps": 3}
    job = tastes.job(
        tmp_path, "online", models, tastes.prompts(8), config, reward_model=str(tmp_path / "blind")
    )
    result, events = tastes.here(job)
    assert tastes.values(events, "equal_groups") == [1.0] * 3
    assert tastes.values(events, "grad_norm") == [0.0] * 3
    assert result["metrics"]["loss"] == 0.0


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_it_learns_what_the_reward_model_likes(labels: str, models: Path, tmp_path: Path) -> None:
    config = {
        "labels": labels,
        "batch_size": 8,
        "epochs": 6,
        "beta": 0.05,
        "evaluate_every": 12,
        "samples": 4,
    }
    if labels == "soft":  # rewards lie within one logit, so that soft labels are near one half
        config |= {"epochs": 12, "evaluate_every": 24}
    job = tastes.job(tmp_path, "online", models, tastes.prompts(40), config)
    _, events = tastes.here(job)
    figures = tastes.values(events, "held_out_reward")
    assert figures[-1] > figures[0] + 0.1
