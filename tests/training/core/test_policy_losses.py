from __future__ import annotations

import math

import pytest
import torch

from training.core.policy_losses import (
    clipped_surrogate,
    clipped_value_loss,
    is_clipped,
    k1,
    k3,
    policy_gradient,
    token_weights,
)

LOGS = torch.tensor([math.log(1.5), math.log(1.5), math.log(0.5), math.log(0.5), 0.0], dtype=torch.float64)
SIGNS = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0], dtype=torch.float64)
NONE = torch.zeros(5, dtype=torch.float64)


def test_the_clipped_surrogate_is_that_worked_out_by_hand():
    # ratios 1.5, 1.5, 0.5, 0.5, 1: -min(1.5, 1.2), -min(-1.5, -1.2), -min(0.5, 0.8), -min(-0.5, -0.8), -2
    found = clipped_surrogate(LOGS, NONE, SIGNS, low=0.2, high=0.2)
    assert found.tolist() == pytest.approx([-1.2, 1.5, -0.5, 0.8, -2.0])


def test_the_two_clips_are_apart():
    ratio = torch.tensor([1.25, 0.75], dtype=torch.float64)
    advantages = torch.tensor([1.0, -1.0], dtype=torch.float64)
    found = clipped_surrogate(ratio.log(), torch.zeros(2), advantages, low=0.2, high=0.28)
    assert found.tolist() == pytest.approx([-1.25, 0.8])
    found = clipped_surrogate(ratio.log(), torch.zeros(2), advantages, low=0.28, high=0.2)
    assert found.tolist() == pytest.approx([-1.2, 0.75])


def test_a_clipped_token_has_no_gradient_and_another_has():
    logprobs = LOGS.clone().requires_grad_()
    clipped_surrogate(logprobs, NONE, SIGNS, low=0.2, high=0.2).sum().backward()
    assert (logprobs.grad == 0).tolist() == [True, False, False, True, False]
    assert is_clipped(LOGS, NONE, SIGNS, low=0.2, high=0.2).tolist() == [True, False, False, True, False]


def test_where_nothing_has_moved_the_gradient_is_reinforces():
    torch.manual_seed(0)
    advantages = torch.randn(9, dtype=torch.float64)
    gradients = []
    for loss in (
        lambda logprobs: clipped_surrogate(logprobs, logprobs.detach(), advantages, low=0.2, high=0.2),
        lambda logprobs: policy_gradient(logprobs, advantages),
    ):
        logprobs = torch.full((9,), -1.5, dtype=torch.float64, requires_grad=True)
        loss(logprobs).sum().backward()
        gradients.append(logprobs.grad)
    assert torch.allclose(gradients[0], gradients[1], rtol=0, atol=1e-15)
    assert torch.allclose(gradients[1], -advantages)


def test_the_policy_gradient_climbs_the_expected_reward():
    """Weighted by its probability, each action's gradient adds up to that of the expected reward, whatever the baseline."""
    torch.manual_seed(1)
    logits = torch.randn(6, dtype=torch.float64, requires_grad=True)
    rewards = torch.randn(6, dtype=torch.float64)
    (expected,) = torch.autograd.grad((torch.softmax(logits, 0) * rewards).sum(), logits)
    logprobs = torch.log_softmax(logits, 0)
    losses = policy_gradient(logprobs, rewards - 0.7)
    (found,) = torch.autograd.grad((losses * logprobs.exp().detach()).sum(), logits)
    assert torch.allclose(found, -expected, rtol=0, atol=1e-12)


def test_the_estimates_of_the_divergence_are_those_worked_out_by_hand():
    logprobs, reference = torch.tensor([-1.0, -1.5, -2.0]), torch.tensor([-1.5, -1.0, -2.0])
    assert k1(logprobs, reference).tolist() == [0.5, -0.5, 0.0]
    # exp(-0.5) + 0.5 - 1 and exp(0.5) - 0.5 - 1
    assert k3(logprobs, reference).tolist() == pytest.approx([0.106531, 0.148721, 0.0], abs=1e-6)


def test_both_estimates_expect_the_true_divergence_and_one_is_never_negative():
    torch.manual_seed(2)
    ours, theirs = torch.log_softmax(0.5 * torch.randn(2, 50, dtype=torch.float64), 1)
    true = (ours.exp() * (ours - theirs)).sum()
    for estimate in (k1, k3):
        assert (ours.exp() * estimate(ours, theirs)).sum().item() == pytest.approx(true.item(), abs=1e-12)
    assert (k3(ours, theirs) >= 0).all()
    assert (k1(ours, theirs) < 0).any()
    spread = [(ours.exp() * (estimate(ours, theirs) - true) ** 2).sum() for estimate in (k1, k3)]
    assert spread[1] < spread[0]


def test_the_value_loss_takes_the_worse_of_two():
    # moved from 1 to 2, clipped to 1.2: half of max(1, 3.24); moved to 1.1, within the clip: half of 3.61;
    # moved past the target: half of max(0.25, 0.04)
    values, old = torch.tensor([2.0, 1.1, 3.5]), torch.tensor([1.0, 1.0, 2.6])
    found = clipped_value_loss(values, old, torch.full((3,), 3.0), clip=0.2)
    assert found.tolist() == pytest.approx([1.62, 1.805, 0.125])


LENGTHS = torch.tensor([2, 4])
OWNER = torch.repeat_interleave(LENGTHS)


@pytest.mark.parametrize(
    ("reduction", "weights"),
    [
        ("sequence", [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]),
        ("constant", [1 / 16] * 6),
        ("token", [1 / 6] * 6),
        ("sum", [1 / 2] * 6),
    ],
)
def test_each_mean_weighs_tokens_as_its_paper_says(reduction: str, weights: list[float]):
    found = token_weights(reduction, LENGTHS, OWNER, responses=2, tokens=6, longest=8)
    assert found.tolist() == pytest.approx(weights)


@pytest.mark.parametrize("reduction", ["sequence", "constant", "token", "sum"])
def test_a_batch_in_passes_weighs_what_it_weighs_whole(reduction: str):
    whole = {"responses": 2, "tokens": 6, "longest": 8}
    together = token_weights(reduction, LENGTHS, OWNER, **whole)
    apart = [
        token_weights(reduction, LENGTHS[k : k + 1], torch.zeros(n, dtype=torch.long), **whole)
        for k, n in enumerate([2, 4])
    ]
    assert torch.equal(together, torch.cat(apart))
