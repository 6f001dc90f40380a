from __future__ import annotations

import math
import random

import pytest
import torch

from tests.training.core.conftest import in_float64, tiny_gpt2, tiny_llama
from training.core.batching import rows_layout, shared_layout
from training.core.logprobs import response_logprobs
from training.core.losses import implicit_reward, ipo_loss, preference_loss, safety_loss
from training.core.rankings import batch_pairs, pairs_of
from training.core.reward_model import RewardModel
from training.core.tokenization import EncodedGroup


def test_bradley_terry_by_hand():
    loss = preference_loss(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]))
    assert loss.tolist() == pytest.approx([0.3132617, 2.1269280])


def test_three_choose_two_by_hand():
    rewards = torch.tensor([2.0, 1.0, 0.0])
    pairs = batch_pairs([[1, 2, 3]])
    losses = preference_loss(rewards[pairs.chosen], rewards[pairs.rejected])
    assert (losses * pairs.weights("prompt")).sum().item() == pytest.approx((0.3132617 * 2 + 0.1269280) / 3)


def test_a_margin_asks_for_more():
    loss = preference_loss(torch.tensor([1.0]), torch.tensor([0.0]), margin=torch.tensor([1.0]))
    assert loss.item() == pytest.approx(math.log(2))


def test_soft_labels_by_hand():
    loss = preference_loss(torch.tensor([1.0]), torch.tensor([0.0]), probability=0.75)
    assert loss.item() == pytest.approx(0.75 * 0.3132617 + 0.25 * 1.3132617)


def test_dpo_starts_at_log_two():
    logprobs = torch.tensor([-12.5, -40.25, -3.0])
    rewards = implicit_reward(logprobs, logprobs.clone(), beta=0.1)
    assert rewards.tolist() == [0, 0, 0]
    assert torch.equal(preference_loss(rewards[:2], rewards[1:]), torch.tensor([math.log(2)] * 2))


def test_dpo_by_hand():
    rewards = implicit_reward(torch.tensor([-10.0, -12.0]), torch.tensor([-11.0, -11.0]), beta=0.5)
    assert preference_loss(rewards[:1], rewards[1:]).item() == pytest.approx(0.3132617)


def test_ipo_by_hand():
    assert ipo_loss(torch.tensor([0.2]), torch.tensor([0.0]), beta=0.1).item() == pytest.approx((2 - 5) ** 2)


def test_ipo_of_soft_labels_by_hand():
    """h = 2 against 5 for three in four and against -5 for the rest; least at (0.75 - 0.5) / 0.1."""
    loss = ipo_loss(torch.tensor([0.2]), torch.tensor([0.0]), beta=0.1, probability=0.75)
    assert loss.item() == pytest.approx(0.75 * 9 + 0.25 * 49)
    chosen = torch.tensor([0.25], requires_grad=True)
    ipo_loss(chosen, torch.tensor([0.0]), beta=0.1, probability=0.75).sum().backward()
    assert chosen.grad.item() == pytest.approx(0, abs=1e-4)


def test_a_soft_label_is_met_where_the_odds_are_its_own():
    """sigmoid(log 3) = 0.75, and the margin is asked for on top."""
    for margin in (0.0, 1.0):
        chosen = torch.tensor([math.log(3) + margin], requires_grad=True)
        preference_loss(chosen, torch.zeros(1), margin=margin, probability=0.75).sum().backward()
        assert chosen.grad.item() == pytest.approx(0, abs=1e-6)


def test_turning_a_pair_round_turns_its_soft_label_round():
    one, other = torch.tensor([0.3, 2.0]), torch.tensor([-1.0, 2.5])
    for loss in (
        preference_loss,
        lambda *pair, probability: ipo_loss(*pair, beta=0.2, probability=probability),
    ):
        assert torch.allclose(loss(one, other, probability=0.3), loss(other, one, probability=0.7))


def test_safety_by_hand():
    loss = safety_loss(torch.tensor([1.0, 1.0, -2.0, 0.0]), torch.tensor([1.0, 0.0, 0.0, 1.0]))
    assert loss.tolist() == pytest.approx([0.3132617, 1.3132617, 0.1269280, math.log(2)])
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor([3.0, -40.0]), torch.tensor([0.0, 1.0]), reduction="none"
    )
    assert torch.allclose(safety_loss(torch.tensor([3.0, -40.0]), torch.tensor([0.0, 1.0])), theirs)


RANKINGS = [[1, 2], [2, 1, 2, 3], [1, 1], [3, 2, 1]]
DEGREES = ["better", None, None, None]


def judged() -> list[EncodedGroup]:
    rng = random.Random(3)
    found = []
    for ranks in RANKINGS:
        prompt = [1, *rng.choices(range(10, 300), k=rng.randint(3, 9))]
        found.append(
            EncodedGroup(prompt, [[*rng.choices(range(10, 300), k=rng.randint(1, 8)), 2] for _ in ranks])
        )
    return found


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("reduction", ["prompt", "pair"])
def test_reward_loss_and_gradients_equal_those_of_expanded_pairs(reduction, make):
    """k rewards that serve all pairs, against two forwards for every pair, each alone; float64."""
    model = in_float64(RewardModel(make().base_model, seed=1))
    groups = judged()
    pairs = batch_pairs(RANKINGS, DEGREES, "large")
    rewards = model(shared_layout(groups))
    losses = preference_loss(rewards[pairs.chosen], rewards[pairs.rejected], margin=pairs.margin.double())
    loss = (losses * pairs.weights(reduction, torch.float64)).sum()
    ours = torch.autograd.grad(loss, list(model.parameters()))

    def alone(group: EncodedGroup, index: int) -> torch.Tensor:
        return model(rows_layout([EncodedGroup(group.prompt, [group.responses[index]])]))

    means, everything = [], []
    for group, ranks, degree in zip(groups, RANKINGS, DEGREES, strict=True):
        margin = 2.0 if degree else 0.0
        found = [
            -torch.nn.functional.logsigmoid(alone(group, i) - alone(group, j) - margin)
            for i, j in pairs_of(ranks)
        ]
        everything += found
        if found:
            means.append(torch.stack(found).mean())
    naive = torch.stack(means).mean() if reduction == "prompt" else torch.stack(everything).mean()
    theirs = torch.autograd.grad(naive, list(model.parameters()))
    assert abs(loss.item() - naive.item()) < 1e-9
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_dpo_loss_and_gradients_equal_those_of_expanded_pairs(make):
    policy, reference = in_float64(make()), in_float64(make())
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    groups = judged()
    pairs = batch_pairs(RANKINGS)
    flat = shared_layout(groups)
    with torch.no_grad():
        of_reference = response_logprobs(reference, flat)
    rewards = implicit_reward(response_logprobs(policy, flat), of_reference, beta=0.1)
    loss = (
        preference_loss(rewards[pairs.chosen], rewards[pairs.rejected])
        * pairs.weights("prompt", torch.float64)
    ).sum()
    ours = torch.autograd.grad(loss, list(policy.parameters()))

    def alone(group: EncodedGroup, index: int) -> torch.Tensor:
        with torch.no_grad():
            log_ref = full_logprob(reference, group.prompt, group.responses[index])
        return full_logprob(policy, group.prompt, group.responses[index]) - log_ref

    means = []
    for group, ranks in zip(groups, RANKINGS, strict=True):
        found = [
            -torch.nn.functional.logsigmoid(0.1 * (alone(group, i) - alone(group, j)))
            for i, j in pairs_of(ranks)
        ]
        if found:
            means.append(torch.stack(found).mean())
    naive = torch.stack(means).mean()
    theirs = torch.autograd.grad(naive, list(policy.parameters()))
    assert abs(loss.item() - naive.item()) < 1e-9
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-9)


def full_logprob(policy, prompt: list[int], response: list[int]) -> torch.Tensor:
    """The whole model's own logits, every position projected: nothing of ours in between."""
    logprobs = torch.log_softmax(policy(input_ids=torch.tensor([[*prompt, *response]])).logits[0], -1)
    return sum(logprobs[len(prompt) - 1 + offset, token] for offset, token in enumerate(response))
