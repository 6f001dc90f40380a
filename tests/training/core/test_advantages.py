from __future__ import annotations

import pytest
import torch

from training.core.advantages import (
    adapted,
    explained_variance,
    gae,
    group_advantages,
    leave_one_out,
    moving_mean,
    token_rewards,
    varied,
    whiten,
)

REWARDS = torch.tensor([0.0, 0.0, 1.0, 2.0], dtype=torch.float64)
VALUES = torch.tensor([0.5, 0.25, 0.75, 0.5], dtype=torch.float64)
LENGTHS = torch.tensor([3, 1])


def close(actual: torch.Tensor, expected: list, within: float = 1e-6) -> bool:
    return torch.allclose(actual.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=within)


def test_the_score_stands_at_the_last_token_and_the_divergence_at_every_one():
    scores, kl = torch.tensor([1.0, -2.0]), torch.tensor([0.1, 0.2, 0.3])
    assert close(token_rewards(scores, kl, torch.tensor([2, 1]), 0.5), [-0.05, 0.9, -2.15])


def test_advantages_are_those_worked_out_by_hand():
    # deltas, gamma 0.9: 0.9 * 0.25 - 0.5 = -0.275; 0.9 * 0.75 - 0.25 = 0.425; 1 - 0.75 = 0.25; and 2 - 0.5 = 1.5
    # backwards, 0.9 * 0.8 = 0.72: 0.25; 0.425 + 0.72 * 0.25 = 0.605; -0.275 + 0.72 * 0.605 = 0.1606
    advantages, returns = gae(REWARDS, VALUES, LENGTHS, gamma=0.9, lam=0.8)
    assert close(advantages, [0.1606, 0.605, 0.25, 1.5])
    assert close(returns, [0.6606, 0.855, 1.0, 2.0])


def test_at_lambda_one_the_return_is_what_is_still_to_come_and_at_zero_one_step_and_a_value():
    _, returns = gae(REWARDS, VALUES, LENGTHS, gamma=1.0, lam=1.0)
    assert close(returns, [1.0, 1.0, 1.0, 2.0])
    _, returns = gae(REWARDS, VALUES, LENGTHS, gamma=1.0, lam=0.0)
    assert close(returns, [0.25, 0.75, 1.0, 2.0])


def test_no_response_sees_into_another():
    torch.manual_seed(0)
    lengths = torch.tensor([4, 1, 7, 3])
    rewards, values = torch.randn(15), torch.randn(15)
    together, _ = gae(rewards, values, lengths, gamma=0.97, lam=0.9)
    own = slice(5, 12)
    alone, _ = gae(rewards[own], values[own], lengths[2:3], gamma=0.97, lam=0.9)
    assert torch.equal(together[own], alone)


def test_whitened_values_have_mean_zero_and_variance_one():
    assert close(whiten(torch.tensor([1.0, 2.0, 3.0, 4.0])), [-1.341641, -0.447214, 0.447214, 1.341641], 1e-5)
    torch.manual_seed(1)
    found = whiten(torch.randn(1000, dtype=torch.float64) * 7 + 30)
    assert found.mean().item() == pytest.approx(0, abs=1e-12)
    assert found.var(correction=0).item() == pytest.approx(1, abs=1e-9)
    assert torch.isfinite(whiten(torch.ones(5))).all()


GROUPS = torch.tensor([[1.0, 2.0, 3.0, 6.0], [5.0, 5.0, 5.0, 5.0]])


def test_a_group_is_normalised_by_its_unbiased_deviation():
    # mean 3, squares 4 + 1 + 0 + 9 = 14, 14 / 3 = 4.6667, root 2.160247
    found = group_advantages(GROUPS, epsilon=0.0)[0]
    assert close(found, [-0.925820, -0.462910, 0.0, 1.388730])
    assert close(group_advantages(GROUPS)[1], [0.0] * 4), (
        "equal rewards teach nothing, and nothing is divided by 0"
    )
    torch.manual_seed(2)
    found = group_advantages(torch.randn(6, 8))
    assert torch.allclose(found.mean(1), torch.zeros(6), atol=1e-6)
    assert torch.allclose(found.std(1), torch.ones(6), atol=1e-3)


def test_dr_grpo_leaves_the_deviation_out():
    assert close(group_advantages(GROUPS, scale=False)[0], [-2.0, -1.0, 0.0, 3.0])


def test_leaving_one_out_compares_with_the_others():
    # the others' means: 11/3, 10/3, 9/3, 6/3
    assert close(leave_one_out(GROUPS)[0], [-8 / 3, -4 / 3, 0.0, 4.0])
    torch.manual_seed(3)
    rewards = torch.randn(5, 6, dtype=torch.float64)
    centred = rewards - rewards.mean(1, keepdim=True)
    assert torch.allclose(leave_one_out(rewards), centred * 6 / 5)


def test_the_moving_mean_is_of_the_rollouts_before():
    baseline, state = moving_mean(torch.tensor(1.0), torch.tensor([2.0, 4.0]), 0.9)
    assert baseline == 1.0
    assert state.item() == pytest.approx(1.2)
    baseline, state = moving_mean(None, torch.tensor([2.0, 4.0]), 0.9)
    assert (baseline.item(), state.item()) == (3.0, pytest.approx(3.0))


def test_groups_of_equal_rewards_are_recognised():
    assert varied(GROUPS).tolist() == [True, False]


def test_the_kl_weight_follows_its_target():
    assert adapted(0.1, 12.0, 6.0) == pytest.approx(0.102), "2% at most"
    assert adapted(0.1, 5.4, 6.0) == pytest.approx(0.099)
    assert adapted(0.1, -3.0, 6.0) == pytest.approx(0.098)


def test_explained_variance():
    returns = torch.tensor([1.0, 2.0, 3.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.full((3,), 7.0), returns) == 0.0
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert explained_variance(returns, torch.ones(3)) == 0.0
