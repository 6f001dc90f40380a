from __future__ import annotations

import random

import pytest
import torch

from tests.training.core.conftest import tiny_llama
from training.core.encoding import Row
from training.core.reward_model import RewardModel
from training.core.scoring import by_length, pad, response_logprobs, token_logprobs


def rows(seed: int = 0, count: int = 6) -> list[Row]:
    rng = random.Random(seed)
    return [
        Row([1, *rng.choices(range(10, 300), k=rng.randint(2, 30))], [*rng.choices(range(10, 300), k=rng.randint(1, 20)), 2])
        for _ in range(count)
    ]  # fmt: skip


def test_a_padded_rows_logprobs_are_those_of_the_row_alone(policy):
    together = response_logprobs(policy, pad(rows()))[0]
    alone = torch.cat([response_logprobs(policy, pad([row]))[0] for row in rows()])
    assert torch.allclose(together, alone, rtol=0, atol=2e-4)


def test_logprobs_are_those_of_the_models_own_forward(policy):
    for row in rows():
        logits = policy(input_ids=torch.tensor([[*row.prompt, *row.response]])).logits[0]
        expected = torch.log_softmax(logits, -1)[len(row.prompt) - 1 : -1].gather(
            1, torch.tensor(row.response)[:, None]
        )
        assert torch.allclose(token_logprobs(policy, pad([row]))[0], expected[:, 0], atol=1e-4)


def test_padding_on_the_left_without_positions_would_be_seen(policy):
    """The negative control: what the test above guards against does move the figures."""
    row, shift = rows()[0], 5
    ids = torch.tensor([[0] * shift + [*row.prompt, *row.response]])
    moved = policy(input_ids=ids).logits[0, shift:]
    assert not torch.allclose(moved, policy(input_ids=ids[:, shift:]).logits[0], atol=0.1)


def test_the_reward_is_read_off_the_last_real_token_whatever_it_is():
    """Padding is id 0; a response may end in that very id, or in the eos, and is still read to its end."""
    model = RewardModel(tiny_llama().model)
    odd = [
        Row([1, 50, 60], [70, 0]),
        Row([1, 50, 60], [70, 0, 0, 0]),
        Row([1, 50], [2, 2]),
        Row([1, 5], [6] * 30),
    ]
    together = model(pad(odd))
    alone = torch.cat([model(pad([row])) for row in odd])
    assert torch.allclose(together, alone, atol=1e-5)
    assert (together[0] - together[1]).abs() > 1e-3
    hidden = model.trunk(input_ids=torch.tensor([[1, 50, 60, 70, 0]])).last_hidden_state[0, -1]
    assert torch.allclose(together[0], hidden @ model.weight, atol=1e-5)


def test_changing_one_response_leaves_the_others_rewards_exactly_as_they_were():
    model = RewardModel(tiny_llama().model)
    before = rows()
    after = list(before)
    after[2] = before[2]._replace(response=[(token + 1) % 300 for token in before[2].response])
    rewards, changed = model(pad(before)), model(pad(after))
    others = [0, 1, 3, 4, 5]
    assert torch.equal(rewards[others], changed[others])
    assert rewards[2] != changed[2]


def test_every_item_is_in_one_group_and_no_group_is_too_large():
    rng = random.Random(0)
    tokens = [rng.randint(1, 50) for _ in range(100)]
    counts = [rng.randint(2, 9) for _ in range(100)]
    groups = list(by_length(list(range(100)), tokens, counts, 600))
    assert sorted(item for group in groups for item in group) == list(range(100))
    for group in groups:
        padded = max(tokens[item] for item in group) * sum(counts[item] for item in group)
        assert padded <= 600 or len(group) == 1


def test_the_head_starts_small_and_the_same_for_a_seed():
    trunk = tiny_llama().model
    assert torch.equal(RewardModel(trunk, seed=4).weight, RewardModel(trunk, seed=4).weight)
    assert RewardModel(trunk, seed=4).weight.std().item() == pytest.approx(33**-0.5, rel=0.4)
